# The commands of this project; `make` alone lists them. Each installs what it needs and says what it is doing.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Node >= 22.19: the machine's own, or a project-local one (deploy/local/node.sh brings it).
WITH_NODE = export PATH="$$(dirname "$$(deploy/local/node.sh)"):$$PATH";
STAGE = deploy/local/stage.sh

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: node-path
node-path: ## Print the path of the Node that the project runs on
	@deploy/local/node.sh

node_modules/.installed: package-lock.json package.json $(wildcard src/*/package.json src/*/bin/*)
	@$(WITH_NODE) $(STAGE) "npm packages" npm ci --no-fund --no-audit
	@touch $@

.PHONY: build
build: node_modules/.installed ## Install what is missing and build every package
	@$(WITH_NODE) $(STAGE) "build" npm run --silent build

.PHONY: generate
generate: node_modules/.installed ## Generate types, the chart, the dashboard, the reference pages and the API report from their sources
	@$(WITH_NODE) $(STAGE) "generate" node crds/generate.ts
	@$(WITH_NODE) $(STAGE) "dashboard" node deploy/monitoring/dashboard.ts
	@$(WITH_NODE) $(STAGE) "chart" node charts/generate.ts
	@$(WITH_NODE) $(STAGE) "build" npm run --silent build
	@$(WITH_NODE) $(STAGE) "references" node docs/generate.ts
	@$(WITH_NODE) $(STAGE) "API report" node docs/api/generate.ts

include deploy/local/cluster.mk

.PHONY: demo
demo: build ## Run jobs on a real cluster: from nothing to `kubectl get taskqueues`
	@$(WITH_NODE) exec node deploy/demo/main.ts

.PHONY: images
images: build ## Build the images of the operator and of the examples
	@$(WITH_NODE) exec node deploy/images.ts

.PHONY: krew
krew: build ## Pack kubectl taskqueue for krew into build/, and write its manifest
	@$(WITH_NODE) exec node deploy/krew/pack.ts

.PHONY: test
test: build ## Run all checks and all test tiers
	@$(WITH_NODE) exec node test/run.ts

# One tier alone: test-checks, test-unit, test-integration, test-conformance, test-e2e.
.PHONY: test-checks test-unit test-integration test-conformance test-e2e
test-checks test-unit test-integration test-conformance test-e2e: test-%: build
	@$(WITH_NODE) exec node test/run.ts $*

.PHONY: faults
faults: build ## Run the fault tests, and every library under the same faults: writes docs/reliability.md (QUICK=1 for a short one)
	@$(WITH_NODE) node test/run.ts faults
	@$(WITH_NODE) exec node test/faults/history/main.ts $(if $(QUICK),--quick)

.PHONY: faults-cluster
faults-cluster: build ## 100 cycles of scale-down, pod kill, rolling update, eviction and a killed operator, under load on the real cluster
	@$(WITH_NODE) TASKQUEUE_CYCLES=$(or $(CYCLES),100) exec node_modules/.bin/vitest run --project e2e test/e2e/cycles.test.ts

.PHONY: bench bench-quick
bench: build ## Measure everything beside its peers: writes docs/benchmarks.md, half an hour
	@$(WITH_NODE) exec node bench/main.ts
bench-quick: build ## The same in three minutes, written nowhere
	@$(WITH_NODE) exec node bench/main.ts --quick

.PHONY: lint format
lint: build ## Lint, types, arrows, format and generated files
	@$(WITH_NODE) exec node test/run.ts checks
format: node_modules/.installed ## Format every file
	@$(WITH_NODE) npm run --silent format
