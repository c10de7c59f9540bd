# The cluster that demo and tests run on (docs/local-cluster.md). CLUSTER=local, kind or current.
LOCAL_CLUSTER = $(WITH_NODE) exec node deploy/local/cluster.ts

.PHONY: cluster-up cluster-down cluster-status cluster-env
cluster-up: ## Bring the cluster up; the last line is the kubeconfig's path
	@$(LOCAL_CLUSTER) up

cluster-down: ## Take the cluster down and leave nothing behind
	@$(LOCAL_CLUSTER) down

cluster-status: ## Show each component of the cluster
	@$(LOCAL_CLUSTER) status

cluster-env: ## Print what a shell needs to use it: eval "$(make -s cluster-env)"
	@$(LOCAL_CLUSTER) env
