"""Asks each question of standard input, "NAME KIND", as a program with dnspython would.

    specification.py ADDRESS PORT udp|tcp

Prints the question behind "? ", the rcode, and the records, with their section unless it is the first.
"""

import sys

import dns.rcode
import dns.resolver

address, port, transport = sys.argv[1:]
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = [address]
resolver.port = int(port)
resolver.lifetime = 30


def asked(name, kind):
    try:
        answer = resolver.resolve(
            name, kind, tcp=transport == "tcp", raise_on_no_answer=False, search=False
        )
        return answer.response
    except dns.resolver.NXDOMAIN as missing:
        (response,) = missing.responses().values()
        return response
    except dns.resolver.NoNameservers as failed:
        ((_, _, _, _, response),) = failed.kwargs["errors"]
        return response


for line in sys.stdin:
    name, kind = line.split()
    print("?", name, kind)
    response = asked(name, kind)
    print(dns.rcode.to_text(response.rcode()))
    for title, section in (
        ("", response.answer),
        ("[authority] ", response.authority),
        ("[additional] ", response.additional),
    ):
        for rrset in section:
            for record in rrset.to_text().splitlines():
                print(title + record)
