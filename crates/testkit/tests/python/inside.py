"""The Python client inside a pod, with what every pod is given."""

import json
import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException


def main():
    config.load_incluster_config()
    core = client.CoreV1Api()
    print("api", core.api_client.configuration.host)
    with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
        namespace = file.read()

    names = [pod.metadata.name for pod in core.list_namespaced_pod(namespace).items]
    print("pods", *names)
    made = core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="from-inside"), data={"a": "1"})
    )
    core.patch_namespaced_config_map("from-inside", namespace, {"data": {"a": "2"}})
    watcher = watch.Watch()
    arguments = {"resource_version": made.metadata.resource_version, "timeout_seconds": 30}
    for event in watcher.stream(core.list_namespaced_config_map, namespace, **arguments):
        print("event", event["type"], event["object"].data["a"])
        watcher.stop()

    for what, call in [
        ("secrets", lambda: core.list_namespaced_secret(namespace)),
        ("pods elsewhere", lambda: core.list_namespaced_pod("kube-system")),
        ("nodes", lambda: core.list_node()),
    ]:
        try:
            call()
        except ApiException as error:
            print("refused", what, error.status, json.loads(error.body)["message"])
        else:
            print("not refused", what)

    review = client.AuthenticationV1Api().create_self_subject_review(client.V1SelfSubjectReview())
    print("I am", review.status.user_info.username)


if __name__ == "__main__":
    sys.exit(main())
