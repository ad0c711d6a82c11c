# The main targets are `make demo` and `make test`. Each first says and installs what this machine lacks.

.DEFAULT_GOAL := help
.PHONY: help setup demo break chaos load bench bench-quick package release test lint test-unit test-integration test-browser test-firefox test-system test-faults test-upgrade test-deploy test-deploy-quick test-ha test-alerts coverage forget-coverage clean

# Run targets one at a time even with MAKEFLAGS=-j4, because they share the cores, the ports and the output. These two
# alone, which `test` runs side by side, share no port.
ifneq ($(MAKECMDGOALS),lint test-unit)
.NOTPARALLEL:
endif

# Packages of another installation, such as a Spark on PYTHONPATH, would take precedence over those of .venv.
unexport PYTHONPATH PYTHONHOME

BIN := .venv/bin
JOBS ?= 5
# The Python and the processor of the hosts.
HOSTS ?= 3.11 x86_64
# Measuring coverage doubles the work of Python, so `make coverage` alone does it.
test_python = $(BIN)/python
coverage: test_python = $(BIN)/coverage run
# Each worker gets whole test files, the longest first. tests/conftest.py lists these.
side_by_side = --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
set_up = @python3 -m emostream_lab.machine.bootstrap

against = $(if $(AGAINST),--against '$(AGAINST)')

help: ## Say what there is
	@echo 'make TARGET [SETTING=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Settings of make demo:'
	@echo '  FOR=60            stop after 60 s, account for every reaction, and fail if one is lost or doubled'
	@echo '  CROWD=1000        reactions a second of the simulated crowd; 0 for none'
	@echo '  VIEWERS=500       connected viewers; 0 for none'
	@echo '  EVENTS=3          events that the crowd is spread over; main is one of them'
	@echo '  TRIGGER_MS=2000   time between swarms, 250 or more'
	@echo '  ONLY=kafka,...    start these tiers alone'
	@echo '  KEEP=1            go on with the data of the last run'
	@echo '  STANDBY=1         start a stand-by of the aggregator and of a publisher, which take over'
	@echo '  TOKENS=1          let only viewers with a token in; the page gets one as a guest'
	@echo '  TLS=1             close every hop between the processes: certificates, encryption, and rights for each tier'
	@echo '  METRICS=1         start Prometheus too, with a page of graphs and alerts'
	@echo '  LAN=1             serve the page on the network too, with a QR code for phones; this opens ports'
	@echo
	@echo 'Settings of make break:'
	@echo '  WHAT=kafka        the tier or process to kill, as subscriber or subscriber@9001; any by default'
	@echo
	@echo 'Settings of make chaos:'
	@echo '  SEED=1            which faults, and which events open and close meanwhile; FAULTS=25 of them; BURST=1 for one after the other'
	@echo
	@echo 'Settings of make load:'
	@echo '  SHAPE=steady      how the audience behaves: steady, ramp, match, stampede, churn, slow'
	@echo '  VIEWERS=1000      viewers, REACTIONS=500 a second, for FOR=60 seconds'
	@echo '  EVENTS=50         events that the audience is spread over; main is one of them'
	@echo '  SHARE=0.9         the share of viewers and reactions that main gets; IDLE=800 more events are open, and nobody attends them'
	@echo '  WORKERS=2         Locust processes that make the load, one a core'
	@echo '  OWN=1             start a pipeline for it even where one runs'
	@echo
	@echo 'Settings of make bench and make bench-quick:'
	@echo '  PARTS=ingest      some of ingest, fanout, compression, proxy, aggregator, hops, start, events, growth; all by default'
	@echo '  AGAINST=main      measure this checkout and another revision in turn, five times, and print the ratios'
	@echo
	@echo 'Settings of make release:'
	@echo "  HOSTS='3.11 x86_64'  the Python and the processor of the hosts"
	@echo
	@echo 'Settings of make test and of its integration tests:'
	@echo '  JOBS=5            how many tests run at the same time; each takes up to 2 GB'
	@echo
	@echo 'Settings of make test-faults:'
	@echo '  FAULTS=25         how many; they are always those of SEED=1'
	@echo
	@echo 'Settings of make test-upgrade:'
	@echo '  BEFORE=HEAD~1     the revision that runs before the upgrade: a tag, a branch or a commit'

demo: ## Run the whole pipeline on this machine, with a simulated crowd
	$(set_up) demo$(if $(filter-out 0,$(METRICS)),-metrics)
# The demo ends when this command ends, even by SIGKILL.
	@setpriv --pdeathsig TERM -- $(BIN)/emostream-lab demo

break: ## Kill a process of the running demo, and see it come back
	$(set_up) demo
	@$(BIN)/emostream-lab break

chaos: ## Break every process of a topology of its own, and account for every reaction
	$(set_up) test
	@setpriv --pdeathsig TERM -- $(BIN)/emostream-lab chaos

load: ## Put an audience of Locust's on the running pipeline, or on one of its own
	$(set_up) test
	@setpriv --pdeathsig TERM -- $(BIN)/emostream-lab load

bench: ## Measure every tier, beside others of its kind: a table, a picture and JSON, in 20 minutes
	$(set_up) bench
	@setpriv --pdeathsig TERM -- $(BIN)/python -m emostream_lab.bench $(against) $(PARTS)

bench-quick: ## The main figures of it, in 3 minutes and with fewer viewers
	$(set_up) bench
	@setpriv --pdeathsig TERM -- $(BIN)/python -m emostream_lab.bench --quick $(against) $(PARTS)

package: ## Build the npm package emostream-client into build/, test it, and use it as others do
	$(set_up) package
	@cd clients/javascript && npm ci --ignore-scripts --no-audit --no-fund --silent
	@cd clients/javascript && npm test
	@rm -f build/emostream-client-*.tgz
	@cd clients/javascript && npm pack --silent --pack-destination ../../build
	@cd clients/javascript && node verify.js ../../build/emostream-client-*.tgz

release: ## List what the deployment installs, with its licences, as an SBOM and as text in build/release
	$(set_up) test
	@$(BIN)/python scripts/artifacts.py $(HOSTS)
	@$(BIN)/python scripts/release.py

setup: ## Ready this machine for `vagrant up` and `ansible-playbook site.yml`
	$(set_up) test
	@scripts/setup

test: ## Check everything: lint, types, unit, integration and browser tests
	$(set_up) browser
# Much of lint runs on one core alone. The output of each is printed at its end.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint test-unit
	@$(MAKE) --no-print-directory test-system

coverage: forget-coverage test-unit test-system ## Measure which lines and branches all tests reach, in every process
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

forget-coverage:
	@rm -rf build/coverage

lint: ## Check style and types, of Python and of the deployment
	$(set_up) test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
# ansible-lint looks for the matching Ansible on PATH.
	PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint site.yml playbooks roles inventory
# Its exit status is 0 with a warning about the file of targets, which a deployment writes.
	PATH="$$PATH:$(CURDIR)/build/prometheus/usr/bin" promtool check config emostream/monitoring/prometheus.yml

test-unit: ## Test the pure parts, in seconds
	$(set_up) test
	$(test_python) -m pytest --quiet --numprocesses auto --dist worksteal tests/unit

test-integration: ## Test on the real Kafka, ZooKeeper and Spark, in minutes
	$(set_up) test
	$(test_python) -m pytest --quiet -m 'not faults' $(side_by_side) tests/integration

test-browser: ## Test the page in headless Chromium, on the real pipeline
	$(set_up) browser
	$(BIN)/python -m pytest --quiet -m 'not firefox' tests/browser

test-firefox: ## Test the page and the streams in headless Firefox ESR; this installs it, 300 MB
	$(set_up) firefox
	$(BIN)/python -m pytest --quiet -m firefox tests/browser

test-system: ## The integration and the browser tests, side by side
	$(set_up) browser
	$(test_python) -m pytest --quiet --durations 10 -m 'not faults and not firefox' $(side_by_side) tests/integration tests/browser

test-faults: ## Break processes of a pipeline, FAULTS=25 times, and account for every reaction
	$(set_up) test
	$(BIN)/python -m pytest --quiet --durations 10 -m faults tests/faults tests/integration

test-upgrade: ## Upgrade a running system from BEFORE=REVISION to this checkout, process by process
	$(set_up) test
	$(BIN)/python -m pytest --quiet tests/upgrade

test-deploy: setup ## Make thirteen hosts, deploy to them, break them and destroy them again
	$(BIN)/python -m pytest --quiet --timeout 5400 tests/deployment

test-deploy-quick: setup ## The main part of it: a deployment, its units and firewall, a killed unit, moving viewers
	$(BIN)/python -m pytest --quiet --timeout 5400 -m quick tests/deployment

test-ha: setup ## Make the hosts of inventory/ha, cut the power of each in turn under load, and print how long all stood still
	$(BIN)/python -m pytest --quiet tests/ha

test-alerts: ## On hosts that site.yml has deployed: make faults, see each fire its alert, and print the table; 60 minutes
	$(BIN)/python -m pytest --quiet --timeout 3600 tests/alerts

clean: ## Remove the state of local runs, but not what was downloaded
	rm -rf build/demo build/tmp .pytest_cache .mypy_cache .ruff_cache .hypothesis
