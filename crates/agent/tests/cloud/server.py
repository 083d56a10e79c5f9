"""moto's EC2 on loopback, stricter than it is, and with what a test says to it beside.

moto gives every address that is asked for, the same one twice if chance wants it, knows no prefixes and no
limits. Here a subnet has an end, an interface and an instance have the places of their type, and addresses
come in order. Beside EC2 this serves the machine's metadata (IMDSv2), and /test for the test itself.

Prints its port, and ends when its standard input does: with the test, however that ends.
"""

import io
import ipaddress
import json
import os
import sys
import threading

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models import elastic_network_interfaces as enis
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces as Requests
from moto.core.responses import ActionResult, EmptyResult
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
TOKEN = "a-token-of-the-metadata-service"
lock = threading.RLock()
# What the next requests of a region are answered with instead: region -> [[action, code, how often]].
faults = {}
# Who has asked for what: region -> [action].
asked = {}
metadata = {"instance-id": "", "placement/region": ""}


class Limits:
    """The places of a type of instance."""

    def __init__(self, instance):
        info = INSTANCE_TYPES[instance.instance_type]["NetworkInfo"]
        self.interfaces = info["MaximumNetworkInterfaces"]
        self.addresses = info["Ipv4AddressesPerInterface"]


def prefixes(eni):
    return [item["Ipv4Prefix"] for item in getattr(eni, "ipv4_prefixes", [])]


def networks(backend, subnet):
    """All that somebody has in a subnet."""
    for eni in backend.get_all_network_interfaces():
        if eni.subnet.id == subnet.id:
            for item in eni.private_ip_addresses:
                yield ipaddress.ip_network(item["PrivateIpAddress"])
            for prefix in prefixes(eni):
                yield ipaddress.ip_network(prefix)


def free(backend, subnet, length):
    """A network of this length that nobody has, the longest unused first, as EC2 gives them."""
    taken = list(networks(backend, subnet))
    whole = ipaddress.ip_network(subnet.cidr_block)
    reserved = {whole[n] for n in (0, 1, 2, 3, -1)}
    candidates = list(whole.subnets(new_prefix=length))
    start = getattr(subnet, "cursor", 0)
    for n in range(len(candidates)):
        at = (start + n) % len(candidates)
        network = candidates[at]
        if not any(network.overlaps(other) for other in taken) and not any(a in network for a in reserved):
            subnet.cursor = at + 1 if length == 32 else start
            return network
    code = "InsufficientFreeAddressesInSubnet" if length == 32 else "InsufficientCidrBlocks"
    raise EC2ClientError(code, f"{subnet.id} has not enough free for this request.")


def assign(backend, eni, addresses, blocks):
    places = Limits(eni.instance).addresses - 1 if eni.instance else 1000
    used = len(eni.private_ip_addresses) - 1 + len(prefixes(eni))
    if used + addresses + blocks > places:
        raise EC2ClientError("PrivateIpAddressLimitExceeded", f"{eni.id} has {places} places.")
    given, given_blocks = [], []
    try:
        for _ in range(addresses):
            item = {"Primary": False, "PrivateIpAddress": str(free(backend, eni.subnet, 32).network_address)}
            eni.private_ip_addresses.append(item)
            given.append(item)
        for _ in range(blocks):
            item = {"Ipv4Prefix": str(free(backend, eni.subnet, 28))}
            eni.ipv4_prefixes = getattr(eni, "ipv4_prefixes", []) + [item]
            given_blocks.append(item)
    except EC2ClientError:
        # All or nothing.
        for item in given:
            eni.private_ip_addresses.remove(item)
        eni.ipv4_prefixes = [p for p in getattr(eni, "ipv4_prefixes", []) if p not in given_blocks]
        raise
    return given, given_blocks


def assign_private_ip_addresses(self):
    backend = self.ec2_backend
    with lock:
        eni = backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        addresses = self._get_int_param("SecondaryPrivateIpAddressCount", 0)
        given, blocks = assign(backend, eni, addresses, self._get_int_param("Ipv4PrefixCount", 0))
    return ActionResult({
        "NetworkInterfaceId": eni.id,
        "AssignedPrivateIpAddresses": given,
        "AssignedIpv4Prefixes": blocks,
    })


def unassign_private_ip_addresses(self):
    with lock:
        eni = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        take(eni, self._get_param("PrivateIpAddresses", []), self._get_param("Ipv4Prefixes", []))
    return EmptyResult()


def take(eni, addresses, blocks):
    for item in list(eni.private_ip_addresses):
        if item["PrivateIpAddress"] in addresses:
            eni.private_ip_addresses.remove(item)
    eni.ipv4_prefixes = [p for p in getattr(eni, "ipv4_prefixes", []) if p["Ipv4Prefix"] not in blocks]


def create_network_interface(self):
    backend = self.ec2_backend
    with lock:
        subnet = backend.get_subnet(self._get_param("SubnetId"))
        primary = str(free(backend, subnet, 32).network_address)
        tags = {
            tag["Key"]: tag["Value"]
            for spec in self._get_param("TagSpecifications", [])
            for tag in spec["Tags"]
        }
        eni = backend.create_network_interface(
            subnet, primary, None, self._get_param("Groups", []), self._get_param("Description"), tags
        )
        try:
            addresses = self._get_int_param("SecondaryPrivateIpAddressCount", 0)
            assign(backend, eni, addresses, self._get_int_param("Ipv4PrefixCount", 0))
        except EC2ClientError:
            backend.delete_network_interface(eni.id)
            raise
    return ActionResult({"NetworkInterface": eni})


def attach_network_interface(self):
    backend = self.ec2_backend
    with lock:
        instance = backend.get_instance(self._get_param("InstanceId"))
        most = Limits(instance).interfaces
        if len(instance.nics) >= most:
            raise EC2ClientError("AttachmentLimitExceeded", f"{instance.id} has {most} interfaces.")
        return moto_attach(self)


def modify_network_interface_attribute(self):
    attachment = self._get_param("Attachment", {})
    if attachment:
        eni = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        eni.delete_on_termination = attachment["DeleteOnTermination"] in (True, "true")
        return EmptyResult()
    return moto_modify(self)


moto_attach = Requests.attach_network_interface
moto_modify = Requests.modify_network_interface_attribute
for replaced in (
    assign_private_ip_addresses,
    unassign_private_ip_addresses,
    create_network_interface,
    attach_network_interface,
    modify_network_interface_attribute,
):
    setattr(Requests, replaced.__name__, replaced)
enis.NetworkInterface.ipv4_prefixes = []


def available(self):
    whole = ipaddress.ip_network(self.cidr_block)
    return whole.num_addresses - 5 - sum(n.num_addresses for n in networks(self.ec2_backend, self))


Subnet.available_ip_address_count = property(available)


def shown(eni):
    return {
        "id": eni.id,
        "mac": eni.mac_address,
        "primary": eni.private_ip_address,
        "device": eni.device_index if eni.instance else None,
        "instance": eni.instance.id if eni.instance else None,
        "endsWithInstance": bool(eni.delete_on_termination),
        "addresses": [i["PrivateIpAddress"] for i in eni.private_ip_addresses if not i["Primary"]],
        "prefixes": prefixes(eni),
    }


def make_world(backend, subnet, kind, count, metadata_of_it):
    """A VPC with a subnet and instances in it."""
    vpc = backend.create_vpc("10.0.0.0/16")
    made = backend.create_subnet(vpc.id, subnet)
    instances = []
    for _ in range(count):
        reservation = backend.run_instances(
            "ami-1", 1, None, [], subnet_id=made.id, instance_type=kind, is_instance_type_default=False,
        )
        instance = reservation.instances[0]
        eni = instance.nics[0]
        # Of moto's choice, which may be one that EC2 keeps for itself.
        eni.private_ip_address = str(free(backend, made, 32).network_address)
        eni.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": eni.private_ip_address}]
        instances.append({"id": instance.id, "interface": shown(eni)})
    if metadata_of_it:
        metadata["instance-id"] = instances[0]["id"]
        metadata["placement/region"] = backend.region_name
    return {"vpc": vpc.id, "subnet": made.id, "instances": instances}


def test_request(path, message):
    region = message.pop("region")
    backend = ec2_backends[ACCOUNT][region]
    with lock:
        if path == "/test/world":
            return make_world(backend, **message)
        if path == "/test/interfaces":
            return [shown(eni) for eni in backend.get_all_network_interfaces()]
        if path == "/test/fault":
            faults.setdefault(region, []).append([message["action"], message["code"], message["times"]])
            return {}
        if path == "/test/asked":
            return asked.get(region, [])
        if path == "/test/take":
            for eni in backend.get_all_network_interfaces():
                take(eni, [message["address"]], [])
            return {}
    raise ValueError(path)


def fault_of(region, action):
    with lock:
        asked.setdefault(region, []).append(action)
        for fault in faults.get(region, []):
            if fault[0] == action and fault[2] > 0:
                fault[2] -= 1
                return fault[1]
    return None


def metadata_answer(environ, path):
    """As the metadata service: a token first, and nothing without it."""
    if path == "/latest/api/token":
        return 200 if environ["REQUEST_METHOD"] == "PUT" else 405, TOKEN
    if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != TOKEN:
        return 401, ""
    role = "/latest/meta-data/iam/security-credentials/"
    if path in (role, role.replace("credentials/", "credentials-extended/")):
        return (200, "node-role") if path == role else (404, "")
    if path == role + "node-role":
        return 200, json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": "AKIDOFTHENODEROLE", "SecretAccessKey": "secret", "Token": "session",
            "Expiration": "2199-01-01T00:00:00Z",
        })
    name = path.removeprefix("/latest/meta-data/")
    return (200, metadata[name]) if name in metadata else (404, "")


ERROR = "<Response><Errors><Error><Code>{0}</Code><Message>{0} by the test.</Message></Error></Errors></Response>"
STATUS = {200: "200 OK", 400: "400 Bad Request", 401: "401 Unauthorized", 404: "404 Not Found",
          405: "405 Method Not Allowed", 500: "500 Internal Server Error", 503: "503 Service Unavailable"}


def signed_for(environ):
    """The region of a request that is signed by the node's role, as EC2 would insist."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDOFTHENODEROLE/"):
        return None
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != "session":
        return None
    return authorization.split("Credential=")[1].split("/")[2]


def application(environ, start_response):
    path = environ["PATH_INFO"]

    def answer(status, text):
        body = text.encode()
        headers = {"Content-Type": "text/plain", "Content-Length": str(len(body))}
        if path == "/latest/api/token":
            headers["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"] = "21600"
        start_response(STATUS[status], list(headers.items()))
        return [body]

    if path.startswith("/latest/"):
        return answer(*metadata_answer(environ, path))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if path.startswith("/test/"):
        try:
            return answer(200, json.dumps(test_request(path, json.loads(body))))
        except Exception as error:  # told to the test, which fails with it
            return answer(500, repr(error))
    region = signed_for(environ)
    if region is None:
        return answer(401, ERROR.format("AuthFailure: not signed by the role of the metadata service; unset AWS_*"))
    action = dict(part.split("=", 1) for part in body.decode().split("&"))["Action"]
    code = fault_of(region, action)
    if code:
        return answer(503 if "Limit" in code else 400, ERROR.format(code))
    environ["wsgi.input"] = io.BytesIO(body)
    return moto(environ, start_response)


class Handler(MotoRequestHandler):
    def log(self, *_):
        pass


moto = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
