"""docs/config.md is executed: each of its Corefiles parses, and it names each directive and option there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from kdns.cli.main import make_parser
from kdns.corefile import Condition, Settings, from_flags, parse_corefile, print_corefile, with_kubeconfig
from kdns.corefile.access import _ACL_OPTIONS
from kdns.corefile.admin import _HEALTH_OPTIONS, _PROMETHEUS_OPTIONS, _PROMETHEUS_REFUSED, _READY_OPTIONS
from kdns.corefile.cache import _OPTIONS as _CACHE_OPTIONS
from kdns.corefile.cluster import _GONE, _OPTIONS, _REFUSED
from kdns.corefile.directives import COREDNS_ORDER, DIRECTIVES
from kdns.corefile.flags import KUBECONFIG_FLAG
from kdns.corefile.forward import _OPTIONS as _FORWARD_OPTIONS
from kdns.corefile.forward import _REFUSED as _FORWARD_REFUSED
from kdns.corefile.hosts import _OPTIONS as _HOSTS_OPTIONS
from kdns.corefile.logformat import PLACEHOLDERS
from kdns.corefile.refused import REFUSED
from kdns.corefile.rewriting import _FIELDS
from kdns.corefile.settings import SETTING_NAMES
from kdns.corefile.template import _OPTIONS as _TEMPLATE_OPTIONS

TEXT = (Path(__file__).parents[3] / "docs" / "config.md").read_text(encoding="utf-8")
TABLE = (Path(__file__).parents[3] / "docs" / "directives.md").read_text(encoding="utf-8")
COREFILES = re.findall(r"^```corefile\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
FILES = {
    "conf.d/common.conf": [("conf.d/common.conf", "any\nbufsize 1400\n")],
    "conf.d/*.zones": [("conf.d/a.zones", "a.test {\n whoami\n}\n"), ("conf.d/b.zones", "b.test {\n whoami\n}\n")],
}
ENVIRONMENT = {"DNS_PORT": "1053", "DNS_ADDRESS": "127.0.0.1"}


@pytest.mark.parametrize("text", COREFILES, ids=lambda text: text.splitlines()[0])
def test_each_corefile_in_the_documentation_parses_and_prints_to_the_same_model(text: str) -> None:
    corefile = parse_corefile(text, read=lambda pattern: FILES[pattern], environment=ENVIRONMENT)
    assert parse_corefile(print_corefile(corefile)) == corefile


def test_the_documentation_has_an_example_of_each_directive_and_option() -> None:
    examples = "\n".join(COREFILES)
    missing = [name for name in [*DIRECTIVES, *_OPTIONS] if not re.search(rf"^\s+{name}\b", examples, re.MULTILINE)]
    assert missing == []


def chapter(title: str) -> str:
    """The text below this heading, up to the next one that is not below it."""
    level = title.split()[0]
    return TEXT.partition(f"\n{title}\n")[2].partition(f"\n{level} ")[0]


def table_column(text: str, column: int = 1) -> list[str]:
    return [row.split("|")[column].strip() for row in re.findall(r"^\| *`.*$", text, re.MULTILINE)]


def test_the_table_of_directives_says_what_the_code_does() -> None:
    rows = re.findall(r"^\| (\w+) \| (.*?) \| ?(.*?) ?\|$", TABLE, re.MULTILINE)[1:]
    expected = [
        (name, f"[yes](config.md#{name})", "") if name in DIRECTIVES else (name, "no", REFUSED[name])
        for name in COREDNS_ORDER
    ]
    assert rows == expected


def test_the_directives_are_described_in_the_order_in_which_they_act() -> None:
    assert re.findall(r"^### (\w+)$", chapter("## Directives"), re.MULTILINE) == list(DIRECTIVES)


OPTIONS_OF: dict[str, Iterable[str]] = {
    "kubernetes": _OPTIONS,
    "health": _HEALTH_OPTIONS,
    "ready": _READY_OPTIONS,
    "prometheus": _PROMETHEUS_OPTIONS,
    "acl": _ACL_OPTIONS,
    "cache": _CACHE_OPTIONS,
    "rewrite": _FIELDS,
    "template": _TEMPLATE_OPTIONS,
    "transfer": ["to"],
    "hosts": _HOSTS_OPTIONS,
    "forward": _FORWARD_OPTIONS,
}


@pytest.mark.parametrize("directive", OPTIONS_OF)
def test_the_table_of_a_directive_has_each_of_its_options(directive: str) -> None:
    words = [word for cell in table_column(chapter(f"### {directive}")) for word in re.findall(r"`(\w+)", cell)]
    assert sorted(set(words)) == sorted(OPTIONS_OF[directive])


@pytest.mark.parametrize("directive", OPTIONS_OF)
def test_there_is_an_example_of_each_option_of_a_directive(directive: str) -> None:
    examples = "\n".join(COREFILES)
    spelled = rf"(?:^\s+|^\s+{directive} (?:continue |stop )?)"
    assert [name for name in OPTIONS_OF[directive] if not re.search(rf"{spelled}{name}\b", examples, re.M)] == []


def test_the_documentation_names_each_placeholder_and_each_refused_option() -> None:
    assert [name for name in PLACEHOLDERS if f"`{name}`" not in TEXT] == []
    refused = [name for name, why in _REFUSED.items() if why != _GONE]
    assert [name for name in refused if f"`{name}`" not in chapter("### kubernetes")] == []
    assert [name for name in _PROMETHEUS_REFUSED if f"`{name}`" not in chapter("### prometheus")] == []
    assert [name for name in _FORWARD_REFUSED if f"`{name}`" not in chapter("### forward")] == []


def test_the_flags_of_the_documentation_are_the_corefiles_beside_them() -> None:
    manifests, kubeconfig = re.findall(r"^```corefile\n(.*?)^```$", chapter("## Flags"), re.DOTALL | re.MULTILINE)
    assert print_corefile(from_flags(["127.0.0.1:1053"], ["shop.yaml"], ["zones/example.org.zone"])) == manifests
    watched = from_flags(["[::1]:1053"], [], [], is_watched=True)
    assert print_corefile(with_kubeconfig(watched, "kind.yaml", KUBECONFIG_FLAG)) == kubeconfig


def test_the_table_of_settings_has_each_flag_its_variable_and_its_default() -> None:
    rows: list[str] = re.findall(r"^\| `--.*$", chapter("### Settings of the process"), re.MULTILINE)
    flags = [re.sub(r"\W*`--([-\w]+).*", r"\1", row).replace("-", "_") for row in rows]
    assert flags == [*SETTING_NAMES, "workers"]
    parsed = vars(make_parser().parse_args(["serve"]))
    assert set(flags) <= parsed.keys()
    variables = table_column(chapter("### Settings of the process"), 2)[: len(rows)]
    assert variables == ["`KUBECONFIG`", *(f"`KDNS_{name.upper()}`" for name in flags[1:])]
    defaults = Settings()
    assert f"default {defaults.negative_ttl};" in TEXT
    assert f"default `{defaults.snapshot_max_age / 3600:.0f}h`" in TEXT
    assert f"default `{defaults.ready_when}`" in TEXT
    assert f"default {defaults.client_queries};" in TEXT
    policies = table_column(chapter("### Settings of the process").partition("| POLICY |")[2])
    assert [policy.strip("`").partition("=")[0] for policy in policies] == [one.value for one in Condition]


def test_the_roles_of_the_documentation_let_list_and_watch_what_is_watched_and_no_more() -> None:
    documents = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)]
    granted = {
        document["kind"]: sorted((group, name) for rule in document["rules"]
                                 for group in rule["apiGroups"] for name in rule["resources"])
        for document in documents
    }
    slices = ("discovery.k8s.io", "endpointslices")
    assert granted == {
        "ClusterRole": [("", "namespaces"), ("", "pods"), ("", "services"), slices],
        "Role": [("", "services"), slices],
    }
    assert all(rule["verbs"] == ["list", "watch"] for document in documents for rule in document["rules"])


def test_the_links_within_the_documentation_lead_to_a_heading() -> None:
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ ([\w -]+)$", TEXT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
