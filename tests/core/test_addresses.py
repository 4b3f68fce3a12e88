"""Which addresses may be called."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.addresses import AllowList, as_address, is_entry, networks, why_closed


def closed(text: str, *listed: str) -> str:
    """Why an address is closed."""
    return why_closed(ipaddress.ip_address(text), networks(listed))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "private"),
        ("240.0.0.1", "private"),
        ("192.0.2.7", "private"),
        ("198.18.0.1", "private"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("fe80::1", "link-local"),
        ("fc00::1", "private"),
        ("fd12::1", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::1", "private"),
        ("::127.0.0.1", "loopback"),
        ("::10.0.0.1", "private"),
    ],
)
def test_addresses_that_are_not_public_are_closed(address, why):
    """IPv6 addresses that stand for IPv4 ones are judged as what they stand for."""
    assert closed(address) == why


@pytest.mark.parametrize("address", ["64:ff9b:1::808:808", "fec0::1", "2002:808:808::1", "::8.8.8.8", "192.88.99.1"])
def test_ways_around_are_closed_though_they_may_lead_to_public_addresses(address):
    """Networks that no longer exist, and translation that a site sets up for itself."""
    assert closed(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_open(address):
    """Also behind the well-known prefix of NAT64."""
    assert closed(address) == ""


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::1", "[::1]"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("64:ff9b::a01:203", "10.0.0.0/8"),
        ("fd12::1", "fd00::/8"),
        ("169.254.169.254", "169.254.169.254"),
    ],
)
def test_a_listed_address_is_open(address, entry):
    """By itself or by its network, and by no other entry of the list."""
    assert closed(address, "example.org", entry) == ""
    assert closed(address, "example.org", "11.0.0.0/8") != ""


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_disguise_is_judged_no_milder(address):
    """Mapped, by NAT64, 6to4 or the compatible form."""
    number = int(address)
    disguises = [number | 0xFFFF << 32, number | 0x64FF9B << 96, number << 80 | 0x2002 << 112]
    if why_closed(address):
        assert all(why_closed(ipaddress.IPv6Address(one)) for one in disguises)


@given(st.ip_addresses())
def test_nothing_but_global_addresses_is_open(address):
    """Whatever Python holds for private, reserved or local is closed."""
    if not address.is_global and (address.version == 4 or address.ipv4_mapped is None):
        assert why_closed(address) or address in ipaddress.ip_network("64:ff9b::/96")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.org", True),
        ("EXAMPLE.org.", True),
        ("www.example.org", False),
        ("notexample.org", False),
        ("img.example.net", True),
        ("a.b.example.net", True),
        ("example.net", False),
        ("badexample.net", False),
        (".example.net", False),
        ("10.2.3.4", True),
        ("11.2.3.4", False),
        ("[::1]", True),
        ("2130706433", False),
        ("0x7f.1", False),
        ("example.org.evil.test", False),
    ],
)
def test_hosts_that_a_list_takes(host, expected):
    """Names exactly, in any case, or below a star; addresses by network."""
    assert AllowList.of(["Example.org", "*.example.net", "10.0.0.0/8", "::1"]).takes(host) is expected


def test_an_empty_list_takes_nothing():
    """Nothing is fetched unless something is listed."""
    assert not AllowList.of([]).takes("example.org")


@pytest.mark.parametrize(
    "entry", ["example.org", "*.example.org", "localhost", "10.0.0.0/8", "::1", "fd00::/8", "a_b.c"]
)
def test_entries_that_can_be_meant(entry):
    """Names, names below one, addresses, networks."""
    assert is_entry(entry)


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "https://example.org", "example.org:443", "example.org/x", "a..b", "ex*.org", "10.0.0", "é.org"],
)
def test_entries_that_cannot_be_meant(entry):
    """A star alone would list everything."""
    assert not is_entry(entry)


@pytest.mark.parametrize("text", ["0177.0.0.1", "127.1", "0x7f000001", "2130706433", "127.0.0.1.", "localhost"])
def test_only_the_usual_writing_is_an_address(text):
    """Other writings are names, which must be listed and whose addresses are judged when they are resolved."""
    assert as_address(text) is None
