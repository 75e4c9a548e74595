"""How kdns is deployed. No part of the package: programs here make the image and the manifests."""
