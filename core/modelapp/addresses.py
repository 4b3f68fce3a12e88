"""Which addresses and hosts a server may call for its callers: only public ones, and those that are listed."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
#: What Python does not count as private: carriers' own (RFC 6598), relays of 6to4, the site-local ones of old.
_CLOSED: tuple[Network, ...] = tuple(map(ipaddress.ip_network, ("100.64.0.0/10", "192.88.99.0/24", "fec0::/10")))
_LABEL_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def networks(entries: Iterable[str]) -> tuple[Network, ...]:
    """Those of a list's entries that are addresses or networks, "10.0.0.0/8"; names are left out."""
    found: list[Network] = []
    for entry in entries:
        try:
            found.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            continue
    return tuple(found)


def why_closed(address: Address, listed: Sequence[Network] = ()) -> str:
    """Why an address must not be called, in a word for people; "" where it may be.

    An IPv6 address that stands for an IPv4 one (mapped, 6to4, NAT64, Teredo) is judged as that too.
    """
    if any(address in network for network in listed if network.version == address.version):
        return ""
    inner = _inside(address)
    if inner is not None:
        if any(inner in network for network in listed if network.version == 4):
            return ""
        if why := why_closed(inner, listed):
            return why
        return "" if address.ipv4_mapped is not None or address in _NAT64[0] else "reserved"  # type: ignore[union-attr] # IPv6
    checks = (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("private", address.is_private or any(address in one for one in _CLOSED if one.version == address.version)),
        ("reserved", address.is_reserved or not address.is_global),
    )
    return next((word for word, holds in checks if holds), "")


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) >> 32 == 0 and int(address) > 1:  # IPv4-compatible, RFC 4291
        return ipaddress.IPv4Address(int(address))
    return None


@attrs.frozen
class AllowList:
    """Entries of `allow_hosts`: names, "*.example.org" for all names below one, addresses and networks."""

    entries: tuple[str, ...]
    listed: tuple[Network, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> "AllowList":
        """Out of what app.toml says."""
        kept = tuple(entry.lower().rstrip(".") for entry in entries)
        return cls(kept, networks(kept))

    def takes(self, host: str) -> bool:
        """Whether a URL may name this host, which is a name or an address."""
        host = host.lower().rstrip(".")
        address = as_address(host)
        if address is not None:
            return any(address in network for network in self.listed if network.version == address.version)
        return any(_matches(entry, host) for entry in self.entries)


def as_address(host: str) -> Address | None:
    """A host of a URL as an address, where it is one as RFC 3986 writes it; 0x7f.1 and 2130706433 are none."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _matches(entry: str, host: str) -> bool:
    if entry.startswith("*."):
        return host.endswith(entry[1:]) and len(host) > len(entry) - 1
    return host == entry


def is_entry(entry: str) -> bool:
    """Whether an entry of `allow_hosts` can be meant: no scheme, port or path, and no star but at the front."""
    if networks([entry]):
        return True
    name = entry.lower().removeprefix("*.").rstrip(".")
    labels = name.split(".")
    return bool(name) and all(label and set(label) <= _LABEL_CHARS for label in labels) and not labels[-1].isdigit()
