# Three tiers of tests: check (minutes), test (what CI runs), proof (hours, by hand).
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.1.4

.DEFAULT_GOAL := help
.PHONY: help build pkcs11 run check lint unit vuln test postgres e2e proof figures bench proto

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/sigbox, a static binary
	CGO_ENABLED=0 go build -trimpath -o bin/sigbox ./cmd/sigbox

pkcs11: build ## Build bin/sigbox-pkcs11 beside it, for keys on a token; it is not static, and needs a C compiler
	CGO_ENABLED=1 go build -trimpath -o bin/sigbox-pkcs11 ./cmd/sigbox-pkcs11

run: ## Run the whole stack on loopback (the same as go run ./cmd/sigbox up)
	go run ./cmd/sigbox up

proto: ## Generate the Go code of proto/ again (a test fails where it is out of date)
	go run ./proto/internal/generate

check: lint unit vuln ## Tier 1, minutes: lint, unit and differential tests, fuzz seeds, with the race detector
	@echo '== check passed. NOT RUN by this tier: PostgreSQL, tokens (SoftHSM), released clients, compose files (make test); what make test leaves out (make proof); what says so above'

lint: ## gofmt, go vet, staticcheck
	@echo '== gofmt' && test -z "$$(gofmt -l . | tee /dev/stderr)"
	@echo '== go vet' && go vet -tags postgres,softhsm ./... && cd e2e && go vet ./...
	@echo '== staticcheck' && go run $(STATICCHECK) -tags postgres,softhsm ./... && cd e2e && go run $(STATICCHECK) ./...

unit: ## Unit, property and differential tests and fuzz seeds, with the race detector
	@echo '== go test -race' && CGO_ENABLED=1 go test -race -timeout 15m $$(.ci/packages unit)

vuln: ## Known vulnerabilities, where the database can be reached
	@./.ci/vuln $(GOVULNCHECK)

test: check postgres e2e ## Tier 2, what CI runs: check, real PostgreSQL and SoftHSM, the real clients, the compose files
	@echo '== test passed. NOT RUN by this tier: 500 kills, 100,000 certificates, every pair of faults, storms of 1,000 verifications, a 50 MB SBOM, upstream servers, figures, benchmarks (make proof); what says so above'

postgres: ## Tests against a real PostgreSQL server, which they start themselves, and real tokens (SoftHSM)
	@./.ci/postgres
	@echo '== go test (PostgreSQL, SoftHSM)' && go test -tags postgres,softhsm -count=1 -timeout 20m $$(.ci/packages postgres)

e2e: ## The released clients (cosign 2 and 3, rekor-cli, gitsign, policy-controller, Kyverno, sigstore-js, -go, -python, -java) against the real binary
	@./e2e/run

proof: figures ## Tier 3, by hand: 500 kills, 100,000 certificates, storms of 1,000, a 50 MB SBOM, benchmarks, figures, upstream's servers asked again; writes docs/figures
	SIGBOX_FIGURES=$(CURDIR)/docs/figures SIGBOX_E2E_KILLS=500 SIGBOX_E2E_STORM=1000 SIGBOX_E2E_SBOM=52428800 ./e2e/run -run 'TestKill|TestFigures|TestStorm|TestGateStorm|TestLargeSBOM|TestRekorCLIKinds' -v -timeout 6h
	SIGBOX_FIGURES=$(CURDIR)/docs/figures go test -run '^(TestCanonicalBesideUpstream|TestCreateCost)$$' -count=1 -timeout 1h ./tlog/rekorv1
	SIGBOX_CERTIFICATES=100000 go test -run '^TestManyCertificates$$' -count=1 -timeout 4h -v ./ca
	SIGBOX_FIGURES=$(CURDIR)/docs/figures SIGBOX_KILL_ROUNDS=500 SIGBOX_ALL_FAULTS=1 go test -run '^(TestKill|TestFaults)$$' -count=1 -timeout 4h ./tlog/pgstore
	./e2e/run differential
	$(MAKE) bench

figures: ## sigbox and upstream's servers side by side, logs of 10 million; writes docs/figures, docs/benchmarks.md
	@./e2e/run figures

bench: ## Benchmarks of the log engine and of issuance; prints its figures
	go test -run '^$$' -bench . -benchmem ./tlog/... ./ca/...
