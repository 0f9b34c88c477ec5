"""Which addresses a media URL may lead to.

Refused is every address that is not on the public Internet: this machine, private and link-local networks (cloud
metadata among them), multicast, reserved ranges, and IPv6 forms that wrap such an IPv4 address (mapped, compatible,
6to4, Teredo, NAT64). `REFUSED` says so beside Python's own tables, which differ from version to version. Spellings of
an IPv4 address that only some programs understand (`0x7f.1`, `2130706433`) are refused as they stand.
"""

import ipaddress
import re
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
V4_COMPATIBLE = ipaddress.IPv6Network("::/96")
REFUSED: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's cloud metadata; global to Python < 3.12.4
            "192.88.99.0/24",  # relays of 6to4, withdrawn
            "168.63.129.16/32",  # public by its number, and yet the host of every virtual machine at Azure
            "2001::/23",  # protocol assignments
            "2002::/16",  # 6to4: leads through a relay to whatever IPv4 address is in it
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
        ),
    )
)
"""Networks that are refused whatever Python calls them (IANA's special-purpose registries)."""
NUMERIC_LABEL = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
"""WHATWG: a host whose last label is a number is meant as an IPv4 address."""


def is_public(address: Address) -> bool:
    """Whether it leads to the public Internet, and nowhere else by a translation on the way.

    >>> [is_public(ipaddress.ip_address(a)) for a in ("93.184.216.34", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False]
    """
    # Python calls some multicast, reserved and long withdrawn networks global.
    if address.is_multicast or address.is_unspecified or address.is_reserved or not address.is_global:
        return False
    if any(address in network for network in REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return all(is_public(inner) for inner in wrapped(address))


def wrapped(address: Address) -> list[ipaddress.IPv4Address]:
    """IPv4 addresses that an IPv6 one stands for or leads through.

    >>> wrapped(ipaddress.ip_address("64:ff9b::7f00:1")), wrapped(ipaddress.ip_address("2002:a00:1::"))
    ([IPv4Address('127.0.0.1')], [IPv4Address('10.0.0.1')])
    """
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in V4_COMPATIBLE or any(address in network for network in NAT64):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in inner if one is not None]


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Public, or in one of the networks that the operator opened.

    >>> is_allowed(ipaddress.ip_address("127.0.0.1"), [ipaddress.ip_network("127.0.0.0/8")])
    True
    """
    plain = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return is_public(address) or any((plain or address) in network for network in allowed)


def is_odd_number(host: str) -> bool:
    """Whether a host is an IPv4 address written in a way that is read differently by different programs.

    >>> [is_odd_number(host) for host in ("2130706433", "0x7f.1", "010.0.0.1", "127.0.0.1", "a1.example", "::1")]
    [True, True, True, False, False, False]
    """
    last_label = host.rstrip(".").rsplit(".", 1)[-1]
    if ":" in host or not NUMERIC_LABEL.fullmatch(last_label):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
