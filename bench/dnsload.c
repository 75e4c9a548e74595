/* dnsload: a DNS load driver for one core, over UDP (recvmmsg/sendmmsg) or TCP (pipelined), on loopback only.
 *
 *   cc -O2 -Wall -Wextra -o dnsload dnsload.c -lm
 *   dnsload port=5300 queries=FILE [option=value ...]          prints one line of JSON
 *
 *   address=127.0.0.1  or another of 127.0.0.0/8, or ::1       proto=udp     or tcp
 *   seconds=5          how long to send (at most 600)          count=0       stop after so many queries; 0: time decides
 *   sockets=8          sockets (UDP) or connections (TCP)      window=16     queries outstanding per socket: 128 queries
 *                      in all fit a server's default receive buffer, so that nothing is lost at saturation
 *   rate=0             0: closed loop, as fast as the window allows; else open loop, Poisson arrivals at that rate
 *   timeout_ms=1000    a query without a reply for so long is lost
 *   seed=1             of every random choice, and of where in FILE to begin
 *   edns=0 cookie=0 x20=0 miss=0    percentages, drawn for each query:
 *       edns    carries an OPT record (payload=1232); cookie is a part of it, and raises it where it is more
 *       cookie  that OPT holds a random 8-octet client COOKIE (RFC 7873): half as dig sends it (AD=1), half as c-ares (AD=0)
 *       x20     every letter of the name in random case
 *       miss    the first label is replaced by one that no other query of any seed has: a name that cannot exist
 *
 *   patient=0          1: a port where nobody listens (UDP) is no reason to give up; what is sent there is lost
 *
 * FILE holds "name TYPE" a line; '#' starts a comment line. Every reply is checked: its ID belongs to an outstanding query of
 * that socket, QR is set, and the question comes back octet for octet, letter case included. A third word says what the answer
 * has to be, whatever became of the first label: an IPv4 address that one of its A records has, or NXDOMAIN. Any other answer
 * is counted as wrong, but for SERVFAIL and REFUSED, which are failures.
 *
 * Latency runs from when a query was sent (closed loop) or from when it was due (open loop, so that a stalled driver or
 * server cannot hide it) until the reply was read. In a closed loop it is about outstanding/qps by construction.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  BATCH = 64,                /* messages per system call */
  SOCKETS_MAX = 64,
  SLOTS = 4096,              /* outstanding queries per socket: the low 12 bits of the ID */
  QUERIES_MAX = 1 << 20,
  NAME_MAX_OCTETS = 255,     /* RFC 1035 section 2.3.4 */
  QUESTION_MAX = NAME_MAX_OCTETS + 4,
  QUERY_MAX = 12 + QUESTION_MAX + 11 + 12, /* header, question, OPT, COOKIE option */
  MISS_LABEL = 13,           /* 64 bits in base 32 */
  FRAME_MAX = 2 + 65535,
  TX_OCTETS = 1 << 16,
  RX_OCTETS = 2 * FRAME_MAX,
  SECONDS_MAX = 600,
  RECONNECTS_MAX = 1000,
  SCAN_MS = 20,              /* how often lost queries are looked for */
  BUCKETS_PER_OCTAVE = 64,   /* latency histogram: 1.6 % resolution */
  BUCKETS = 64 * BUCKETS_PER_OCTAVE,
};

enum expectation { ANYTHING, ADDRESS, NXDOMAIN };

struct question { uint8_t *octets; uint16_t length; enum expectation expected; uint8_t address[4]; };

struct slot {
  uint64_t since_ns;
  const struct question *from;
  uint16_t id, length;
  bool busy, edns;
  uint8_t question[QUESTION_MAX];
};

struct channel {
  int fd, busy, free_count, slots_used;
  uint16_t free_slots[SLOTS];
  struct slot *slots;
  uint8_t *tx, *rx;          /* TCP only */
  size_t tx_length, tx_sent, rx_length;
};

static struct {
  const char *address, *queries;
  int port, sockets, window, timeout_ms, payload, edns, cookie, x20, miss, patient;
  bool tcp;
  double seconds, rate;
  uint64_t count, seed;
} option = {.address = "127.0.0.1", .sockets = 8, .window = 16, .timeout_ms = 1000, .payload = 1232, .seconds = 5, .seed = 1};

static struct {
  uint64_t sent, answered, lost, unexpected, mismatched, not_response, malformed, truncated, authoritative, octets;
  uint64_t edns, cookie, x20, miss, opt_returned, overrun, reconnects, rcode[16], latency[BUCKETS], latency_max_ns;
  uint64_t wrong_answers, failures, refused;
  uint64_t behind_max_ns, start_ns, last_ns;
} tally;

static struct question *questions;
static size_t question_count, question_next;
static struct channel channels[SOCKETS_MAX];
static struct pollfd polled[SOCKETS_MAX];
static uint64_t random_state, miss_counter;

static void fail(const char *what) {
  fprintf(stderr, "dnsload: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(2);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* splitmix64's finaliser: a bijection, so different inputs never give the same output. */
static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t draw(void) { return mix(random_state += 0x9e3779b97f4a7c15u); }

static bool draw_percent(int percent) { return percent > 0 && (int)((draw() >> 32) % 100) < percent; }

/* --- the query file ------------------------------------------------------------------------------------------------- */

static int type_number(const char *name) {
  static const struct { const char *name; int number; } types[] = {
      {"A", 1}, {"NS", 2}, {"CNAME", 5}, {"SOA", 6}, {"PTR", 12}, {"MX", 15}, {"TXT", 16}, {"AAAA", 28}, {"SRV", 33}, {"HTTPS", 65}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcasecmp(types[i].name, name)) return types[i].number;
  return -1;
}

/* Writes qname, qtype and class IN; 0 if the name or the type is not one. */
static uint16_t write_question(uint8_t *out, const char *name, const char *type) {
  size_t used = 0;
  for (const char *label = name; *label;) {
    size_t length = strcspn(label, ".");
    if (length == 0 || length > 63 || used + length + 2 > NAME_MAX_OCTETS) return 0;
    out[used++] = (uint8_t)length;
    memcpy(out + used, label, length);
    used += length;
    label += length + (label[length] == '.');
  }
  int number = type_number(type);
  if (number < 0) return 0;
  const uint8_t tail[5] = {0, (uint8_t)(number >> 8), (uint8_t)number, 0, 1};
  memcpy(out + used, tail, sizeof tail);
  return (uint16_t)(used + sizeof tail);
}

static void expect(struct question *question, const char *word) {
  errno = 0;
  if (!strcmp(word, "NXDOMAIN")) question->expected = NXDOMAIN;
  else if (inet_pton(AF_INET, word, question->address) == 1) question->expected = ADDRESS;
  else fail("the third word of a query must be an IPv4 address or NXDOMAIN");
}

static void load_queries(void) {
  FILE *file = fopen(option.queries, "r");
  if (!file) fail(option.queries);
  char line[512], name[300], type[16], expected[16];
  questions = calloc(QUERIES_MAX, sizeof *questions);
  while (question_count < QUERIES_MAX && fgets(line, sizeof line, file)) {
    int words = line[0] == '#' ? 0 : sscanf(line, "%299s %15s %15s", name, type, expected);
    if (words < 2) continue;
    uint8_t octets[QUESTION_MAX];
    uint16_t length = write_question(octets, name, type);
    errno = 0;
    if (!length) fail(strcat(strcpy(line, "not a question: "), name));
    struct question *question = &questions[question_count++];
    *question = (struct question){.octets = malloc(length), .length = length};
    memcpy(question->octets, octets, length);
    if (words == 3) expect(question, expected);
  }
  fclose(file);
  errno = 0;
  if (!question_count) fail("the query file holds no query");
  question_next = mix(option.seed) % question_count;
}

/* --- building a query ----------------------------------------------------------------------------------------------- */

/* Replaces the first label by one that never comes again (the counter runs in a range of its own for each seed). */
static uint16_t copy_as_miss(uint8_t *out, const struct question *from) {
  static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
  uint64_t unique = mix((option.seed << 36) + miss_counter++);
  uint16_t rest = (uint16_t)(from->length - from->octets[0] - 1);
  out[0] = MISS_LABEL;
  for (int i = 1; i <= MISS_LABEL; i++, unique >>= 5) out[i] = (uint8_t)digits[unique & 31];
  memcpy(out + 1 + MISS_LABEL, from->octets + from->octets[0] + 1, rest);
  tally.miss++;
  return (uint16_t)(1 + MISS_LABEL + rest);
}

static void randomise_case(uint8_t *question, uint16_t length) {
  uint64_t bits = 0;
  for (int i = 0, left = 0; i < length - 4; i++) {
    if (!left--) bits = draw(), left = 63;
    if ((uint8_t)((question[i] | 32) - 'a') < 26 && (bits & 1)) question[i] ^= 32; /* length octets lie below 'A' */
    bits >>= 1;
  }
  tally.x20++;
}

static size_t write_opt(uint8_t *out, bool cookie) {
  const uint8_t opt[11] = {0, 0, 41, (uint8_t)(option.payload >> 8), (uint8_t)option.payload, 0, 0, 0, 0, 0, cookie ? 12 : 0};
  memcpy(out, opt, sizeof opt);
  tally.edns++;
  if (!cookie) return sizeof opt;
  uint64_t client = draw();
  memcpy(out + 11, "\0\012\0\010", 4);
  memcpy(out + 15, &client, 8);
  tally.cookie++;
  return sizeof opt + 12;
}

/* Takes a free slot of the channel, writes the next query into out and returns its length. */
static size_t next_query(struct channel *channel, uint8_t *out, uint64_t since_ns) {
  uint16_t index = channel->free_slots[--channel->free_count];
  struct slot *slot = &channel->slots[index];
  const struct question *from = slot->from = &questions[question_next];
  question_next = question_next + 1 == question_count ? 0 : question_next + 1;
  bool fits = from->length - from->octets[0] + MISS_LABEL <= QUESTION_MAX;
  if (fits && draw_percent(option.miss)) slot->length = copy_as_miss(slot->question, from);
  else memcpy(slot->question, from->octets, slot->length = from->length);
  if (draw_percent(option.x20)) randomise_case(slot->question, slot->length);
  int share = (int)((draw() >> 32) % 100);
  bool cookie = share < option.cookie;
  slot->edns = cookie || share < option.edns;
  slot->id = (uint16_t)(draw() >> 48 & 0xf000) | index;
  slot->since_ns = since_ns;
  slot->busy = true;
  if (index >= channel->slots_used) channel->slots_used = index + 1;
  channel->busy++;
  tally.sent++;
  const uint8_t header[12] = {(uint8_t)(slot->id >> 8), (uint8_t)slot->id, 1, cookie && (draw() >> 63) ? 0x20 : 0, 0, 1,
                              0, 0, 0, 0, 0, slot->edns};
  memcpy(out, header, sizeof header);
  memcpy(out + 12, slot->question, slot->length);
  size_t length = 12u + slot->length;
  return slot->edns ? length + write_opt(out + length, cookie) : length;
}

static void release(struct channel *channel, struct slot *slot) {
  slot->busy = false;
  channel->busy--;
  channel->free_slots[channel->free_count++] = (uint16_t)(slot - channel->slots);
}

/* Behind all others: if its reply comes after all, it must not meet another query with the same ID. */
static void release_lost(struct channel *channel, struct slot *slot) {
  slot->busy = false;
  channel->busy--;
  memmove(channel->free_slots + 1, channel->free_slots, (size_t)channel->free_count++ * sizeof *channel->free_slots);
  channel->free_slots[0] = (uint16_t)(slot - channel->slots);
}

/* --- checking a reply ----------------------------------------------------------------------------------------------- */

static int bucket(uint64_t ns) {
  if (ns < BUCKETS_PER_OCTAVE) return (int)ns;
  int octave = 63 - __builtin_clzll(ns) - 6; /* 2^6 buckets per octave */
  return (octave + 1) * BUCKETS_PER_OCTAVE + (int)(ns >> octave) - BUCKETS_PER_OCTAVE;
}

static double bucket_us(int index) {
  int octave = index / BUCKETS_PER_OCTAVE - 1;
  if (octave < 0) return index / 1e3;
  return (double)((uint64_t)(BUCKETS_PER_OCTAVE + index % BUCKETS_PER_OCTAVE) << octave) / 1e3;
}

static double quantile_us(double share) {
  uint64_t seen = 0, want = (uint64_t)ceil(share * (double)tally.answered);
  for (int i = 0; i < BUCKETS; i++)
    if ((seen += tally.latency[i]) >= want && seen) return bucket_us(i);
  return 0;
}

/* Whether one of the answer's records is an A record with this address. */
static bool has_address(const uint8_t *reply, size_t length, size_t at, const uint8_t *address) {
  for (int left = reply[6] << 8 | reply[7]; left > 0; left--) {
    while (at < length && reply[at] && reply[at] < 0xc0) at += 1u + reply[at];
    at += at < length && reply[at] ? 2 : 1;
    if (at + 10 > length) return false;
    size_t rdlength = (size_t)reply[at + 8] << 8 | reply[at + 9];
    bool is_a = reply[at] == 0 && reply[at + 1] == 1 && rdlength == 4;
    if ((at += 10 + rdlength) > length) return false;
    if (is_a && !memcmp(reply + at - 4, address, 4)) return true;
  }
  return false;
}

static void check_answer(const struct slot *slot, const uint8_t *reply, size_t length) {
  const struct question *from = slot->from;
  int rcode = reply[3] & 15;
  if (from->expected == ANYTHING) return;
  if (rcode == 2 || rcode == 5) tally.failures++;
  else if (from->expected == NXDOMAIN) tally.wrong_answers += rcode != 3;
  else tally.wrong_answers += rcode != 0 || !has_address(reply, length, 12u + slot->length, from->address);
}

static void check_reply(struct channel *channel, const uint8_t *reply, size_t length, uint64_t at_ns) {
  if (length < 12) { tally.malformed++; return; }
  uint16_t id = (uint16_t)(reply[0] << 8 | reply[1]);
  struct slot *slot = &channel->slots[id & (SLOTS - 1)];
  if (!slot->busy || slot->id != id) { tally.unexpected++; return; }
  if (!(reply[2] & 0x80)) { tally.not_response++; return; }
  bool echoed = reply[4] == 0 && reply[5] == 1 && length >= 12u + slot->length
                && !memcmp(reply + 12, slot->question, slot->length);
  tally.mismatched += !echoed;
  if (echoed) check_answer(slot, reply, length);
  tally.rcode[reply[3] & 15]++;
  tally.authoritative += reply[2] >> 2 & 1;
  tally.truncated += reply[2] >> 1 & 1;
  /* An OPT without options is the last 11 octets wherever a server puts it last, as all we measure do. */
  tally.opt_returned += slot->edns && length >= 23 && !reply[length - 11] && !reply[length - 10] && reply[length - 9] == 41;
  uint64_t took = at_ns > slot->since_ns ? at_ns - slot->since_ns : 0;
  tally.latency[bucket(took)]++;
  if (took > tally.latency_max_ns) tally.latency_max_ns = took;
  tally.answered++;
  tally.octets += length;
  tally.last_ns = at_ns;
  release(channel, slot);
}

static void drop_lost(uint64_t at_ns) {
  for (int i = 0; i < option.sockets; i++)
    for (int j = 0; j < channels[i].slots_used; j++) {
      struct slot *slot = &channels[i].slots[j];
      if (!slot->busy || at_ns < slot->since_ns + (uint64_t)option.timeout_ms * 1000000u) continue;
      tally.lost++;
      release_lost(&channels[i], slot);
    }
}

/* --- sockets -------------------------------------------------------------------------------------------------------- */

static int connect_socket(void) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)option.port), .sin6_addr = in6addr_loopback};
  bool six = !strcmp(option.address, "::1");
  if (!six) inet_pton(AF_INET, option.address, &v4.sin_addr);
  int fd = socket(six ? AF_INET6 : AF_INET, option.tcp ? SOCK_STREAM : SOCK_DGRAM, 0), one = 1, octets = 4 << 20;
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
  if (option.tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, six ? (void *)&v6 : (void *)&v4, six ? sizeof v6 : sizeof v4)) fail("connect");
  return fd;
}

static void open_channel(struct channel *channel) {
  channel->fd = connect_socket();
  channel->slots = calloc(SLOTS, sizeof *channel->slots);
  for (int i = 0; i < SLOTS; i++) channel->free_slots[i] = (uint16_t)(SLOTS - 1 - i);
  channel->free_count = SLOTS;
  if (option.tcp) channel->tx = malloc(TX_OCTETS), channel->rx = malloc(RX_OCTETS);
}

/* The server closed the connection: what was outstanding is lost, and the channel begins anew. */
static void reconnect(struct channel *channel) {
  errno = 0;
  if (++tally.reconnects > RECONNECTS_MAX) fail("the server keeps closing connections");
  for (int j = 0; j < channel->slots_used; j++)
    if (channel->slots[j].busy) tally.lost++, release(channel, &channel->slots[j]);
  channel->tx_length = channel->tx_sent = channel->rx_length = 0;
  close(channel->fd);
  polled[channel - channels].fd = channel->fd = connect_socket();
}

/* --- UDP ------------------------------------------------------------------------------------------------------------ */

/* Whether the call failed for what an earlier message met: nobody listens there, and we are patient. */
static bool was_refused(void) {
  if (errno != ECONNREFUSED || !option.patient) return false;
  tally.refused++;
  return true;
}

static void send_datagrams(struct channel *channel, int wanted, uint64_t since_ns) {
  static uint8_t octets[BATCH][QUERY_MAX];
  static struct iovec parts[BATCH];
  static struct mmsghdr messages[BATCH];
  if (wanted > BATCH) wanted = BATCH;
  for (int i = 0; i < wanted; i++) {
    parts[i] = (struct iovec){octets[i], next_query(channel, octets[i], since_ns)};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  for (int done = 0, n; done < wanted; done += n) {
    n = sendmmsg(channel->fd, messages + done, (unsigned)(wanted - done), 0);
    if (n < 0 && (errno == EINTR || was_refused())) n = 0;
    if (n < 0) fail("sendmmsg");
  }
}

static void read_datagrams(struct channel *channel) {
  static uint8_t octets[BATCH][4096];
  static struct iovec parts[BATCH];
  static struct mmsghdr messages[BATCH];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){octets[i], sizeof octets[i]};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int n = recvmmsg(channel->fd, messages, BATCH, MSG_DONTWAIT, NULL);
  if (n < 0 && errno != EAGAIN && errno != EINTR && !was_refused()) fail("recvmmsg");
  uint64_t at_ns = now_ns();
  for (int i = 0; i < n; i++) check_reply(channel, octets[i], messages[i].msg_len, at_ns);
}

/* --- TCP ------------------------------------------------------------------------------------------------------------ */

static void flush_stream(struct channel *channel) {
  while (channel->tx_sent < channel->tx_length) {
    ssize_t n = send(channel->fd, channel->tx + channel->tx_sent, channel->tx_length - channel->tx_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) { reconnect(channel); return; }
    channel->tx_sent += (size_t)n;
  }
  channel->tx_length = channel->tx_sent = 0;
}

static void send_frames(struct channel *channel, int wanted, uint64_t since_ns) {
  for (int i = 0; i < wanted && channel->tx_length + 2 + QUERY_MAX <= TX_OCTETS; i++) {
    uint8_t *frame = channel->tx + channel->tx_length;
    size_t length = next_query(channel, frame + 2, since_ns);
    frame[0] = (uint8_t)(length >> 8);
    frame[1] = (uint8_t)length;
    channel->tx_length += 2 + length;
  }
  flush_stream(channel);
}

static void read_frames(struct channel *channel) {
  ssize_t n = recv(channel->fd, channel->rx + channel->rx_length, RX_OCTETS - channel->rx_length, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) { reconnect(channel); return; }
  channel->rx_length += (size_t)n;
  uint64_t at_ns = now_ns();
  size_t used = 0;
  while (channel->rx_length - used >= 2) {
    size_t length = (size_t)channel->rx[used] << 8 | channel->rx[used + 1];
    if (channel->rx_length - used < 2 + length) break;
    check_reply(channel, channel->rx + used + 2, length, at_ns);
    used += 2 + length;
  }
  memmove(channel->rx, channel->rx + used, channel->rx_length -= used);
}

/* --- the run -------------------------------------------------------------------------------------------------------- */

static void send_queries(struct channel *channel, int wanted, uint64_t since_ns) {
  (option.tcp ? send_frames : send_datagrams)(channel, wanted, since_ns);
}

/* Waits up to wait_ns for sockets to become ready, reads what came, and now and then counts what was lost. */
static void serve_sockets(uint64_t wait_ns) {
  static uint64_t scanned_ns;
  for (int i = 0; i < option.sockets; i++)
    polled[i].events = channels[i].tx_sent < channels[i].tx_length ? POLLIN | POLLOUT : POLLIN;
  if (wait_ns > SCAN_MS * 1000000u) wait_ns = SCAN_MS * 1000000u;
  struct timespec wait = {0, (long)wait_ns};
  int ready = ppoll(polled, (nfds_t)option.sockets, &wait, NULL);
  for (int i = 0; ready > 0 && i < option.sockets; i++) {
    if (polled[i].revents & POLLOUT) flush_stream(&channels[i]);
    if (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) (option.tcp ? read_frames : read_datagrams)(&channels[i]);
  }
  uint64_t at_ns = now_ns();
  if (at_ns - scanned_ns > SCAN_MS * 1000000u) drop_lost(at_ns), scanned_ns = at_ns;
}

static bool finished(uint64_t at_ns) {
  if (option.count && tally.sent >= option.count) return true;
  return (double)(at_ns - tally.start_ns) >= option.seconds * 1e9;
}

/* A UDP socket is refilled once half its window is free: a stub's queries come one by one, but a driver that sent one per
 * system call would need more CPU than the server it is to saturate. A TCP connection is refilled at once: the query
 * carries the ACK for which a server without TCP_NODELAY holds back its next small segment. */
static void run_closed_loop(void) {
  int least = option.tcp ? 1 : (option.window + 1) / 2;
  while (!finished(now_ns())) {
    for (int i = 0; i < option.sockets; i++) {
      int room = option.window - channels[i].busy;
      if (room >= least) send_queries(&channels[i], room, now_ns());
    }
    serve_sockets(SCAN_MS * 1000000u);
  }
}

static void run_open_loop(void) {
  double due_ns = (double)tally.start_ns;
  for (unsigned turn = 0;;) {
    uint64_t at_ns = now_ns();
    if (finished(at_ns)) return;
    while (due_ns <= (double)at_ns) {
      struct channel *channel = &channels[turn++ % (unsigned)option.sockets];
      uint64_t behind = at_ns - (uint64_t)due_ns;
      if (behind > tally.behind_max_ns) tally.behind_max_ns = behind;
      if (channel->free_count) send_queries(channel, 1, (uint64_t)due_ns);
      else tally.overrun++;
      due_ns -= log(1.0 - (double)(draw() >> 11) * 0x1p-53) * 1e9 / option.rate;
    }
    at_ns = now_ns();
    serve_sockets(due_ns > (double)at_ns ? (uint64_t)due_ns - at_ns : 0);
  }
}

static void drain(void) {
  for (uint64_t end = now_ns() + (uint64_t)option.timeout_ms * 1000000u + 1000000u; now_ns() < end;) {
    int busy = 0;
    for (int i = 0; i < option.sockets; i++) busy += channels[i].busy;
    if (!busy) return;
    serve_sockets(SCAN_MS * 1000000u);
  }
  drop_lost(UINT64_MAX);
}

static void print_result(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
  double elapsed = tally.answered ? (double)(tally.last_ns - tally.start_ns) * 1e-9 : option.seconds;
  printf("{\"seconds\": %.4f, \"sent\": %lu, \"answered\": %lu, \"qps\": %.1f, \"lost\": %lu, \"overrun\": %lu, ", elapsed, tally.sent,
         tally.answered, elapsed > 0 ? (double)tally.answered / elapsed : 0.0, tally.lost, tally.overrun);
  printf("\"mismatched\": %lu, \"unexpected\": %lu, \"not_response\": %lu, \"malformed\": %lu, \"reconnects\": %lu, ", tally.mismatched,
         tally.unexpected, tally.not_response, tally.malformed, tally.reconnects);
  printf("\"truncated\": %lu, \"authoritative\": %lu, \"reply_octets\": %.1f, \"opt_returned\": %lu, ", tally.truncated,
         tally.authoritative, tally.answered ? (double)tally.octets / (double)tally.answered : 0.0, tally.opt_returned);
  printf("\"edns\": %lu, \"cookie\": %lu, \"x20\": %lu, \"miss\": %lu, \"rcodes\": {", tally.edns, tally.cookie, tally.x20, tally.miss);
  for (int i = 0, first = 1; i < 16; i++)
    if (tally.rcode[i]) printf("%s\"%d\": %lu", first ? "" : ", ", i, tally.rcode[i]), first = 0;
  printf("}, \"wrong_answers\": %lu, \"failures\": %lu, \"refused\": %lu, ", tally.wrong_answers, tally.failures, tally.refused);
  printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, ", quantile_us(0.5), quantile_us(0.99),
         quantile_us(0.999), (double)tally.latency_max_ns / 1e3);
  printf("\"behind_max_us\": %.1f, \"driver_cpu_seconds\": %.4f}\n", (double)tally.behind_max_ns / 1e3, cpu);
}

static void parse_number(const char *argument, const char *value) {
  static const struct { const char *name; int *where, least, most; } numbers[] = {
      {"port", &option.port, 1, 65535}, {"sockets", &option.sockets, 1, SOCKETS_MAX}, {"window", &option.window, 1, SLOTS},
      {"timeout_ms", &option.timeout_ms, 1, 60000}, {"payload", &option.payload, 512, 4096}, {"edns", &option.edns, 0, 100},
      {"cookie", &option.cookie, 0, 100}, {"x20", &option.x20, 0, 100}, {"miss", &option.miss, 0, 100},
      {"patient", &option.patient, 0, 1}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (strncmp(argument, numbers[i].name, (size_t)(value - argument - 1)) || numbers[i].name[value - argument - 1]) continue;
    *numbers[i].where = atoi(value);
    if (*numbers[i].where < numbers[i].least || *numbers[i].where > numbers[i].most) fail(argument);
    return;
  }
  fail(argument);
}

static void parse_option(const char *argument) {
  const char *value = strchr(argument, '=');
  errno = 0;
  if (!value++) fail(argument);
  if (!strncmp(argument, "address=", 8)) option.address = value;
  else if (!strncmp(argument, "queries=", 8)) option.queries = value;
  else if (!strncmp(argument, "proto=", 6)) option.tcp = !strcmp(value, "tcp");
  else if (!strncmp(argument, "seconds=", 8)) option.seconds = atof(value);
  else if (!strncmp(argument, "rate=", 5)) option.rate = atof(value);
  else if (!strncmp(argument, "count=", 6)) option.count = strtoull(value, NULL, 10);
  else if (!strncmp(argument, "seed=", 5)) option.seed = strtoull(value, NULL, 10);
  else parse_number(argument, value);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) parse_option(argv[i]);
  errno = 0;
  if (!option.port || !option.queries) fail("usage: dnsload port=N queries=FILE [option=value ...]; the options stand at the head of dnsload.c");
  uint8_t address[4];
  bool is_v4 = inet_pton(AF_INET, option.address, address) == 1 && address[0] == 127;
  if (!is_v4 && strcmp(option.address, "::1")) fail("address must be one of 127.0.0.0/8, or ::1");
  if (!(option.seconds > 0 && option.seconds <= SECONDS_MAX)) fail("seconds must be above 0 and at most 600");
  random_state = mix(option.seed);
  load_queries();
  for (int i = 0; i < option.sockets; i++) open_channel(&channels[i]), polled[i].fd = channels[i].fd;
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); /* the default 50 us would be a twentieth of a 1,000/s interval */
  tally.start_ns = tally.last_ns = now_ns();
  if (option.rate > 0) run_open_loop();
  else run_closed_loop();
  drain();
  print_result();
  return 0;
}
