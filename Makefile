# Three tiers of tests: check (minutes), test (what CI runs), proof (hours, by hand).
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.1.4

.DEFAULT_GOAL := help
.PHONY: help build run check lint unit vuln test e2e bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/sigbox, a static binary
	CGO_ENABLED=0 go build -trimpath -o bin/sigbox ./cmd/sigbox

run: ## Run the whole stack on loopback (the same as go run ./cmd/sigbox up)
	go run ./cmd/sigbox up

check: lint unit vuln ## Lint, unit and differential tests, fuzz seeds, with the race detector

lint: ## gofmt, go vet, staticcheck
	@echo '== gofmt' && test -z "$$(gofmt -l . | tee /dev/stderr)"
	@echo '== go vet' && go vet ./... && cd e2e && go vet ./...
	@echo '== staticcheck' && go run $(STATICCHECK) ./... && cd e2e && go run $(STATICCHECK) ./...

unit: ## Unit, property and differential tests and fuzz seeds, with the race detector
	@echo '== go test -race' && CGO_ENABLED=1 go test -race -timeout 15m ./...

vuln: ## Known vulnerabilities, where the database can be reached
	@./.ci/vuln $(GOVULNCHECK)

test: check e2e ## Everything CI runs: check, then the real clients

e2e: ## The released clients (cosign 2 and 3, rekor-cli) against the real binary
	@./e2e/run

bench: ## Benchmarks of the log engine and the faces; prints its figures
	go test -run '^$$' -bench . -benchmem ./tlog/... ./ca/...
