"""The Python client outside of a cluster: what its users do, one function each.

Takes its configuration from KUBECONFIG. Ends with 0 when all is as Kubernetes has it.
"""

import json
import socket
import sys
import threading
import time

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
IMAGE = "sealane.io/echo"


def pod(name, **labels):
    container = client.V1Container(name="main", image=IMAGE)
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1PodSpec(containers=[container]),
    )


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def refused(code, reason, call):
    """The error of a call that must be refused, read as the client reads it."""
    try:
        call()
    except ApiException as error:
        body = json.loads(error.body)
        assert (error.status, body["kind"], body["reason"]) == (code, "Status", reason), error
        return body
    raise AssertionError(f"not refused with {code} {reason}")


def objects_are_created_listed_changed_and_deleted(core):
    made = core.create_namespaced_config_map(NAMESPACE, config_map("one", a="1"))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    core.create_namespaced_config_map(NAMESPACE, config_map("two"))
    listed = core.list_namespaced_config_map(NAMESPACE, limit=1)
    assert len(listed.items) == 1 and listed.metadata._continue
    rest = core.list_namespaced_config_map(NAMESPACE, _continue=listed.metadata._continue)
    names = [item.metadata.name for item in listed.items + rest.items]
    assert {"one", "two"} <= set(names) and names == sorted(names), names

    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("one", NAMESPACE, made)
    assert replaced.data == {"a": "1", "b": "2"}
    made.data["b"] = "late"
    refused(409, "Conflict", lambda: core.replace_namespaced_config_map("one", NAMESPACE, made))

    merged = core.patch_namespaced_config_map("one", NAMESPACE, {"data": {"a": None, "c": "3"}})
    assert merged.data == {"b": "2", "c": "3"}
    operations = [{"op": "replace", "path": "/data/b", "value": "json"}]
    assert core.patch_namespaced_config_map("one", NAMESPACE, operations).data["b"] == "json"

    gone = core.delete_namespaced_config_map("two", NAMESPACE)
    gone = gone if isinstance(gone, dict) else gone.to_dict()
    assert gone["status"] == "Success", gone
    refused(404, "NotFound", lambda: core.read_namespaced_config_map("two", NAMESPACE))


def errors_say_what_kubernetes_says(core):
    body = refused(
        409, "AlreadyExists", lambda: core.create_namespaced_config_map(NAMESPACE, config_map("one"))
    )
    assert body["message"] == 'configmaps "one" already exists', body
    body = refused(
        422, "Invalid", lambda: core.create_namespaced_config_map(NAMESPACE, config_map("Not_good"))
    )
    assert body["details"]["causes"][0]["field"] == "metadata.name", body
    assert body["details"]["name"] == "Not_good", body
    refused(404, "NotFound", lambda: core.create_namespaced_config_map("nowhere", config_map("x")))
    refused(400, "BadRequest", lambda: core.list_namespaced_pod(NAMESPACE, label_selector="a in b"))
    many = [{"op": "test", "path": "/none", "value": 1}]
    refused(422, "Invalid", lambda: core.patch_namespaced_config_map("one", NAMESPACE, many))


def a_watch_tells_all_and_resumes(core):
    seen = []
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    for number in range(3):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"watched-{number}"))
    watcher = watch.Watch()
    arguments = {"namespace": NAMESPACE, "resource_version": start, "timeout_seconds": 30}
    for event in watcher.stream(core.list_namespaced_config_map, **arguments):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            watcher.stop()
    version = watcher.resource_version
    core.delete_namespaced_config_map("watched-0", NAMESPACE)

    watcher = watch.Watch()
    arguments["resource_version"] = version
    for event in watcher.stream(core.list_namespaced_config_map, **arguments):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    wanted = [("ADDED", f"watched-{number}") for number in range(3)]
    assert seen == wanted + [("DELETED", "watched-0")], seen


def a_watch_ends_when_its_time_is_over(core):
    watcher = watch.Watch()
    stream = watcher.stream(
        core.list_namespaced_config_map, NAMESPACE, timeout_seconds=1, allow_watch_bookmarks=True
    )
    assert {event["type"] for event in stream} <= {"ADDED", "BOOKMARK"}


def a_pod_starts_and_says_so(core):
    core.create_namespaced_pod(NAMESPACE, pod("web", app="web"))
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_pod, NAMESPACE, label_selector="app=web", timeout_seconds=60
    ):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Ready" and one.status == "True" for one in conditions):
            watcher.stop()
    ready = core.read_namespaced_pod("web", NAMESPACE)
    assert ready.status.phase == "Running" and ready.status.pod_ip, ready.status


def commands_run_in_it(core):
    run = lambda command, **more: stream(  # noqa: E731
        core.connect_get_namespaced_pod_exec,
        "web",
        NAMESPACE,
        command=command,
        stderr=True,
        stdin=more.pop("stdin", False),
        stdout=True,
        tty=False,
        **more,
    )
    assert run(["curl", "-s", "http://127.0.0.1:8080/hostname"]).strip() == "web"
    session = run(["curl", "-s", "http://127.0.0.1:1/"], _preload_content=False)
    session.run_forever(timeout=20)
    assert session.returncode == 7, session.returncode
    try:
        stream(core.connect_get_namespaced_pod_exec, "absent", NAMESPACE, command=["true"], stdout=True)
    except ApiException as error:
        assert "404" in str(error) or error.status in (0, 404), error
    else:
        raise AssertionError("exec in a pod that is not there")


def input_is_passed_and_ends(core):
    shell = client.V1Pod(
        metadata=client.V1ObjectMeta(name="shell"),
        spec=client.V1PodSpec(
            containers=[
                client.V1Container(
                    name="main", image="sealane.io/host", command=["sleep", "600"]
                )
            ],
            termination_grace_period_seconds=0,
        ),
    )
    core.create_namespaced_pod(NAMESPACE, shell)
    deadline = time.monotonic() + 60
    while core.read_namespaced_pod("shell", NAMESPACE).status.phase != "Running":
        assert time.monotonic() < deadline, "the pod does not start"
        time.sleep(0.1)
    session = stream(
        core.connect_get_namespaced_pod_exec,
        "shell",
        NAMESPACE,
        command=["sh", "-c", "echo out; echo err >&2; read line; echo got $line; exit 3"],
        stderr=True,
        stdin=True,
        stdout=True,
        tty=False,
        _preload_content=False,
    )
    session.write_stdin("typed\n")
    session.run_forever(timeout=20)
    assert session.read_stdout() == "out\ngot typed\n"
    assert session.read_stderr() == "err\n"
    assert session.returncode == 3, session.returncode


def logs_are_read(core):
    text = core.read_namespaced_pod_log("web", NAMESPACE)
    assert isinstance(text, str)
    refused(404, "NotFound", lambda: core.read_namespaced_pod_log("absent", NAMESPACE))
    refused(
        400, "BadRequest", lambda: core.read_namespaced_pod_log("web", NAMESPACE, container="none")
    )


def ports_are_forwarded(core):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NAMESPACE, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    connection.settimeout(20)
    connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    connection.close()
    assert forward.error(8080) is None, forward.error(8080)
    assert b"web" in answer.split(b"\r\n\r\n", 1)[1], answer


def groups_of_kinds_are_served():
    groups = client.ApisApi().get_api_versions().groups
    assert "apps" in [group.name for group in groups], groups
    assert client.VersionApi().get_code().major == "1"
    apps = client.AppsV1Api()
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "d"}), spec=pod("x").spec
    )
    selector = client.V1LabelSelector(match_labels={"app": "d"})
    wanted = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="d"),
        spec=client.V1DeploymentSpec(replicas=0, selector=selector, template=template),
    )
    made = apps.create_namespaced_deployment(NAMESPACE, wanted)
    assert made.spec.strategy.rolling_update.max_surge == "25%", made.spec.strategy
    scale = apps.patch_namespaced_deployment_scale("d", NAMESPACE, {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1, scale
    apps.delete_namespaced_deployment("d", NAMESPACE, propagation_policy="Foreground")


def many_threads_share_one_client(core):
    failures = []

    def work(number):
        try:
            core.create_namespaced_config_map(NAMESPACE, config_map(f"thread-{number}"))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    listed = core.list_namespaced_config_map(NAMESPACE).items
    assert len([one for one in listed if one.metadata.name.startswith("thread-")]) == 20


def main():
    config.load_kube_config()
    socket.setdefaulttimeout(60)
    core = client.CoreV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    deadline = time.monotonic() + 30
    while True:
        try:
            core.read_namespaced_service_account("default", NAMESPACE)
            break
        except ApiException as error:
            assert error.status == 404 and time.monotonic() < deadline, error
            time.sleep(0.05)
    steps = [
        objects_are_created_listed_changed_and_deleted,
        errors_say_what_kubernetes_says,
        a_watch_tells_all_and_resumes,
        a_watch_ends_when_its_time_is_over,
        a_pod_starts_and_says_so,
        commands_run_in_it,
        input_is_passed_and_ends,
        logs_are_read,
        ports_are_forwarded,
        many_threads_share_one_client,
    ]
    for step in steps:
        print(step.__name__, flush=True)
        step(core)
    groups_of_kinds_are_served()
    core.delete_namespace(NAMESPACE)


if __name__ == "__main__":
    sys.exit(main())
