"""The Python client with a kind of its own: the definition is made by the client's own types, the objects
are handled by the two ways that it has for kinds that it does not know.

Takes its configuration from KUBECONFIG. Ends with 0 when all is as Kubernetes has it.
"""

import json
import sys

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

GROUP, VERSION, PLURAL = "python.example.com", "v1", "wells"
NAMESPACE = "default"


def definition():
    schema = client.V1JSONSchemaProps
    depth = schema(type="integer", minimum=1, default=10)
    spec = schema(
        type="object",
        required=["bucket"],
        properties={"bucket": schema(type="string"), "depth": depth},
    )
    status = schema(type="object", properties={"level": schema(type="integer")})
    version = client.V1CustomResourceDefinitionVersion(
        name=VERSION,
        served=True,
        storage=True,
        schema=client.V1CustomResourceValidation(
            open_apiv3_schema=schema(type="object", properties={"spec": spec, "status": status})
        ),
        subresources=client.V1CustomResourceSubresources(
            status={},
            scale=client.V1CustomResourceSubresourceScale(
                spec_replicas_path=".spec.depth", status_replicas_path=".status.level"
            ),
        ),
    )
    names = client.V1CustomResourceDefinitionNames(plural=PLURAL, kind="Well")
    return client.V1CustomResourceDefinition(
        metadata=client.V1ObjectMeta(name=f"{PLURAL}.{GROUP}"),
        spec=client.V1CustomResourceDefinitionSpec(
            group=GROUP, scope="Namespaced", names=names, versions=[version]
        ),
    )


def well(name, **spec):
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Well",
        "metadata": {"name": name},
        "spec": spec,
    }


def wait_established(extensions):
    watcher = watch.Watch()
    name = f"metadata.name={PLURAL}.{GROUP}"
    for event in watcher.stream(
        extensions.list_custom_resource_definition, field_selector=name, timeout_seconds=60
    ):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Established" and one.status == "True" for one in conditions):
            watcher.stop()
            return
    raise AssertionError("not established")


def objects_of_any_kind():
    objects = client.CustomObjectsApi()
    where = (GROUP, VERSION, NAMESPACE, PLURAL)
    made = objects.create_namespaced_custom_object(*where, well("one", bucket="oak"))
    assert made["spec"] == {"bucket": "oak", "depth": 10}, made
    try:
        objects.create_namespaced_custom_object(*where, well("two", bucket="oak", depth=0))
        raise AssertionError("not refused")
    except ApiException as error:
        body = json.loads(error.body)
        assert (error.status, body["reason"]) == (422, "Invalid"), error
        assert body["details"]["causes"][0]["field"] == "spec.depth", body
    changed = objects.patch_namespaced_custom_object(*where, "one", {"spec": {"depth": 20}})
    assert changed["metadata"]["generation"] == 2, changed
    objects.patch_namespaced_custom_object_status(*where, "one", {"status": {"level": 3}})
    scale = objects.get_namespaced_custom_object_scale(*where, "one")
    assert (scale["spec"], scale["status"]["replicas"]) == ({"replicas": 20}, 3), scale
    changed["spec"]["bucket"] = "elm"
    try:
        objects.replace_namespaced_custom_object(*where, "one", changed)
        raise AssertionError("not refused")
    except ApiException as error:
        assert error.status == 409, error
    listed = objects.list_namespaced_custom_object(*where)
    assert listed["kind"] == "WellList" and len(listed["items"]) == 1, listed
    assert objects.list_cluster_custom_object(GROUP, VERSION, PLURAL)["items"] == listed["items"]
    watcher = watch.Watch()
    version = listed["metadata"]["resourceVersion"]
    objects.delete_namespaced_custom_object(*where, "one")
    for event in watcher.stream(
        objects.list_namespaced_custom_object, *where, resource_version=version, timeout_seconds=60
    ):
        assert event["type"] == "DELETED" and event["object"]["metadata"]["name"] == "one", event
        watcher.stop()


def kinds_that_discovery_names():
    wells = dynamic.DynamicClient(client.ApiClient()).resources.get(
        api_version=f"{GROUP}/{VERSION}", kind="Well"
    )
    made = wells.create(body=well("three", bucket="ash"), namespace=NAMESPACE)
    assert made.spec.depth == 10, made
    patched = wells.patch(
        name="three",
        namespace=NAMESPACE,
        body={"spec": {"depth": 11}},
        content_type="application/merge-patch+json",
    )
    assert patched.spec.depth == 11, patched
    wells.delete(name="three", namespace=NAMESPACE)


def main():
    config.load_kube_config()
    extensions = client.ApiextensionsV1Api()
    made = extensions.create_custom_resource_definition(definition())
    assert made.spec.names.singular == "well" and made.spec.names.list_kind == "WellList", made
    wait_established(extensions)
    objects_of_any_kind()
    kinds_that_discovery_names()
    extensions.delete_custom_resource_definition(f"{PLURAL}.{GROUP}")
    print("done")


if __name__ == "__main__":
    sys.exit(main())
