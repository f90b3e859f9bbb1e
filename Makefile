# Short names for the commands that this repository is used with; `make` lists them.
# They need Python 3.11.5 or newer, git and make. The first one builds .venv, which takes a while and disk space; later ones reuse it.

PYTHON ?= python3
# tests run on this many cores
JOBS ?= 2
PYTEST = .venv/bin/python -m pytest -n $(JOBS) --dist loadgroup

.PHONY: help course lab docs test-quick test test-full lint scoreboard bench scale prepare clean

help:                  ## list these commands
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1#/p' $(MAKEFILE_LIST) | while IFS='#' read -r name what; do printf 'make %-14s%s\n' "$$name" "$$what"; done

course: .venv/.installed   ## run the course's core into _course/ and print the scoreboard; CHAPTER=03 runs one, FURTHER=1 all of them
	.venv/bin/python -m collab_nb.tools.course $(CHAPTER) $(if $(FURTHER),--further)

lab: .venv/.installed      ## get the data and open the tour in JupyterLab
	.venv/bin/python -c 'from collab_nb.sources import *; copy_for_fastai(get_ml100k())'
	.venv/bin/python -m jupyterlab nbs/tour.ipynb

docs: .venv/.installed     ## build the site into _docs/
	.venv/bin/python -m collab_nb.tools.site

lint: .venv/.installed     ## ruff
	.venv/bin/ruff check .

test-quick: .venv/.installed   ## what needs neither MovieLens nor a kernel, in two minutes
	$(PYTEST) -m 'not (full or movielens or kernel or browser or network)' $(PYTEST_ARGS)

test: .venv/.installed     ## everything that CI runs; PYTEST_ARGS='-k bias' chooses some
	$(PYTEST) $(PYTEST_ARGS)

test-full: .venv/.installed    ## and what is long and rarely breaks: exercise notebooks, every mutant, all of JupyterLab, an older pandas
	$(PYTEST) -m '' $(PYTEST_ARGS)

scoreboard: .venv/.installed   ## train every model of the scoreboard from five seeds and store the result, a quarter of an hour
	COLLAB_NB_SCOREBOARD=$(CURDIR)/collab_nb/scoreboard.json .venv/bin/python -m collab_nb.tools.course --store scoreboard
	.venv/bin/python -c 'from collab_nb.scoreboard import draw_scoreboard; draw_scoreboard("nbs/images/scoreboard.png")'

bench: .venv/.installed _bench/.venv/.installed   ## models and peers on every fold, two to three hours (PART=record), and their speed, under one (PART=speed); BENCH_ARGS=--quick tries it
	$(if $(filter speed,$(PART)),,.venv/bin/python tests/bench $(BENCH_ARGS))
	$(if $(filter record,$(PART)),,.venv/bin/python tests/bench/speed.py $(BENCH_ARGS))

scale: .venv/.installed    ## chapter 15's figures: up to 32 million ratings, a quarter of an hour; SCALE_ARGS=--quick tries it in a minute
	.venv/bin/python tests/bench/scale.py $(SCALE_ARGS)

# Lists and addresses come first: the exported modules name them. A second run changes nothing.
prepare: .venv/.installed  ## after a change: export the modules, store the outputs, clean; CHAPTER='03 04' stores those alone
	.venv/bin/nbdev-export
	.venv/bin/python -m collab_nb.tools.course --lists
	.venv/bin/nbdev-export
	.venv/bin/python -m collab_nb.tools.masters
	COLLAB_NB_IMAGES=$(CURDIR)/nbs/images .venv/bin/python -m collab_nb.tools.course --store $(CHAPTER)
	.venv/bin/nbdev-clean

clean:                     ## remove what these commands made: .venv, _course, _docs, _proc, and _bench with its hours of results
	rm -rf .venv _course _docs _proc _bench

# One pip command, with exact versions: the stored outputs were made with these.
.venv/.installed: constraints.txt settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || \
	  { echo "The course needs Python 3.11.5 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12"; exit 1; }
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv || { echo "No environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  torch==$$(sed -n 's/^torch==\([^ ;]*\).*/\1/p' constraints.txt) -e '.[dev]'
	touch $@

# The peers' own environment. One that does not install here becomes a row that says so; the next `make bench` tries it again.
_bench/.venv/.installed: tests/bench/requirements.txt
	mkdir -p _bench
	test -x _bench/.venv/bin/pip || $(PYTHON) -m venv _bench/.venv || echo "make bench: no environment for the peers; their rows will say so"
	test ! -x _bench/.venv/bin/pip || sed '/^#/d' $< | { all=yes; while read -r peer; do \
	  flags=; case "$$peer" in *libmf*) flags="-O3 -march=native $$(grep -qsw avx /proc/cpuinfo && echo -DUSEAVX)";; esac; \
	  CFLAGS="$$flags" _bench/.venv/bin/pip install --quiet --disable-pip-version-check $$peer </dev/null || \
	    { all=; echo "make bench: $$peer doesn't install here; its rows will say so"; }; done; \
	  test -z "$$all" || touch $@; }
