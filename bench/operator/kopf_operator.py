# A small operator in kopf that makes the very children that ours makes, to be measured beside it. Not an operator to use: it only
# creates, from a template that the bench dumps, and writes one condition.
import json
import os
from datetime import datetime, timezone

import kopf
import kubernetes

with open(os.environ["BENCH_TEMPLATE"]) as file:
    TEMPLATE = file.read()
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])

kubernetes.config.load_kube_config()
core = kubernetes.client.CoreV1Api()
CREATE = {
    "Deployment": kubernetes.client.AppsV1Api().create_namespaced_deployment,
    "PodDisruptionBudget": kubernetes.client.PolicyV1Api().create_namespaced_pod_disruption_budget,
    "Pod": core.create_namespaced_pod,
    "ConfigMap": core.create_namespaced_config_map,
    "PersistentVolumeClaim": core.create_namespaced_persistent_volume_claim,
    "ServiceAccount": core.create_namespaced_service_account,
    "Service": core.create_namespaced_service,
}


@kopf.on.startup()
def configure(settings, **_):
    settings.execution.max_workers = CONCURRENCY


@kopf.on.create("taskqueue.dev", "v1alpha1", "taskqueues")
def create(name, namespace, uid, meta, patch, **_):
    for child in json.loads(TEMPLATE.replace("@NAME@", name).replace("@UID@", uid)):
        try:
            CREATE[child["kind"]](namespace, child)
        except kubernetes.client.ApiException as error:
            if error.status != 409:
                raise
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch.status["observedGeneration"] = meta["generation"]
    patch.status["conditions"] = [
        {
            "type": "Ready",
            "status": "False",
            "reason": "WorkersNotReady",
            "message": "No worker is ready yet.",
            "observedGeneration": meta["generation"],
            "lastTransitionTime": now,
        }
    ]
