"The package as somebody meets it who has no repository: names, weight, metadata, and the wheel in an empty environment."
import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

from conftest import ROOT

SETTINGS = configparser.ConfigParser(delimiters=['='])
SETTINGS.read(ROOT/'settings.ini', encoding='utf-8')
CFG = SETTINGS['DEFAULT']
TRACKED = subprocess.run(['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True).stdout.split('\n')[:-1]
TRACKED = [f for f in TRACKED if (ROOT/f).is_file()]

def run(*args, **kwargs):
    res = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kwargs)
    assert res.returncode == 0, res.stdout + res.stderr
    return res.stdout

def test_names():
    names = run(sys.executable, '-c', 'from collab_nb.all import *; print(*sorted(k for k in globals() if k[0] != "_"))').split()
    for name in ('Learner MSELossFlat set_seed get_ml100k read_ratings read_movies read_users random_split fold_split time_split tuning_split rating_dls '
                 'synth_ratings DotProduct Means my_ratings').split(): assert name in names

def test_names_shadow_nothing_of_fastais():
    import fastai.tabular.all as fastai
    import collab_nb.all as ours
    assert {n for n in ours.__all__ if hasattr(fastai, n)} == {'Learner', 'MSELossFlat', 'set_seed'}

def test_the_bare_package_is_light():
    code = 'import time; t=time.perf_counter(); import collab_nb; print(time.perf_counter()-t); import sys; assert "torch" not in sys.modules and "pandas" not in sys.modules'
    assert float(run(sys.executable, '-c', code)) < 0.5

def test_version_name_and_urls_agree():
    import collab_nb
    from importlib.metadata import metadata
    project = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
    assert collab_nb.__version__ == CFG['version'] == metadata('collab_nb')['Version']
    assert project['name'] == CFG['lib_name'] == metadata('collab_nb')['Name']
    assert project['urls'] == {'Repository': CFG['git_url'], 'Documentation': CFG['doc_url']}
    assert CFG['version'] in (ROOT/'CHANGELOG.md').read_text(encoding='utf-8') and CFG['version'] in (ROOT/'CITATION.cff').read_text(encoding='utf-8')

def test_every_field_of_setup_arrives():
    from importlib.metadata import metadata
    meta = metadata('collab_nb')
    assert meta['Summary'] == CFG['description'] and meta['Requires-Python'] == '>=' + CFG['min_python']
    assert (meta['Author'] or meta['Author-email']) == CFG['author']
    assert (meta['License-Expression'] or meta['License']) == 'Apache-2.0'
    assert {'fastai', 'torch', 'pandas'} <= {re.split(r'[^\w-]', r)[0] for r in meta.get_all('Requires-Dist')}
    assert meta.get_all('Provides-Extra') == ['dev']
    assert 'collab' in meta.get_payload()[:500]

def test_requirements_are_what_the_library_imports():
    "No more and no less; the course runner, the masters and the site belong to the extra"
    imported = set()
    for p in ROOT.glob('collab_nb/**/*.py'):
        if p.stem in ('course', 'masters', 'site'): continue
        for node in ast.walk(ast.parse(p.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import): imported |= {a.name.split('.')[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level: imported.add(node.module.split('.')[0])
    third = {m for m in imported if m not in sys.stdlib_module_names and m != 'collab_nb'}
    assert third == {re.split(r'[<>=]', r)[0] for r in CFG['requirements'].split()}

def test_addresses_are_written():
    from collab_nb.course import write_addresses
    copy = [f for f in TRACKED if f.endswith(('.ipynb', '.toml', '.ini', '.md', '.cff'))]
    import tempfile
    with tempfile.TemporaryDirectory() as tmp:
        for f in copy:
            (Path(tmp)/f).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/f, Path(tmp)/f)
        assert write_addresses(tmp) == [], 'run make prepare'

def test_nothing_of_movielens_is_committed():
    assert not [f for f in TRACKED if re.search(r'(^|/)u\.(data|item|user|genre)$|ml-100k|my_ratings\.csv$', f)]

def test_constraints_name_no_local_version():
    lines = (ROOT/'constraints.txt').read_text(encoding='utf-8').splitlines()
    assert not [line for line in lines if '+' in line or '@' in line]
    assert 'torch==2.13.0' in lines and 'torchvision==0.28.0' in lines

def test_the_top_level_is_the_designs():
    folders = {f.split('/')[0] for f in TRACKED if '/' in f}
    assert folders <= {'nbs', 'collab_nb', 'tests', '.ci', '.github', '.devcontainer'}

TRAIN = '''
import os, pathlib, collab_nb
assert not pathlib.Path(collab_nb.__file__).is_relative_to(os.environ["REPO"]), collab_nb.__file__
from collab_nb.all import *
import pandas as pd, torch
ratings = synth_ratings(80, 60, 2000, noise=.1, seed=0)
dls = rating_dls(ratings, splits=random_split(ratings), bs=64)
dls.show_batch()
set_seed(0)
learn = Learner(dls, DotProduct(dls.n_users, dls.n_items, 5, y_range=(0, 5.5)), loss_func=MSELossFlat())
with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(12, 3e-2)
valid = ratings.iloc[random_split(ratings)[1]]
assert learn.validate()[0] < 0.8*valid.rating.var(), learn.validate()
one = valid.head(1)
assert learn.get_preds(dl=dls.test_dl(one))[0].shape == (1,)
learn.export("learner.pkl")
from fastai.collab import load_learner
assert torch.allclose(load_learner("learner.pkl").get_preds(dl=dls.test_dl(one))[0], learn.get_preds(dl=dls.test_dl(one))[0])
means = Means(ratings.iloc[random_split(ratings)[0]])
means.predict(valid.user, valid.movie)
from collab_nb.scoreboard import read_scoreboard, floor
assert floor() > 0
from collab_nb.figures import bar_chart
if os.environ.get("COLLAB_NB_DATA"):
    path = get_ml100k()
    assert len(read_ratings(path)) == 100_000 and len(my_ratings(read_movies(path))) == 15
    dls = rating_dls(read_ratings(path)); dls.show_batch(); dls.one_batch()
print("trained under pandas", pd.__version__)
'''

# What runs with the library alone; the course runner, the site and the library's pages need what carers install
READ = sorted(p for folder in ('.', 'exercises') for p in (ROOT/'nbs'/folder).glob('*.ipynb') if p.stem not in ('index', 'api', '92_course', '97_site', '98_masters'))

@pytest.fixture(scope='module')
def empty_env(tmp_path_factory):
    "An environment with the wheel and what it requires, and nothing else"
    tmp = tmp_path_factory.mktemp('wheel')
    source = tmp/'source'
    for f in TRACKED:
        (source/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/f, source/f)
    run(sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp, cwd=source)
    wheel = next(tmp.glob('*.whl'))
    shutil.rmtree(source)
    venv.create(tmp/'env', with_pip=True)
    python = tmp/'env'/('Scripts' if os.name == 'nt' else 'bin')/'python'
    torch = next(line for line in (ROOT/'constraints.txt').read_text().splitlines() if line.startswith('torch=='))
    run(python, '-m', 'pip', 'install', '--quiet', '--constraint', ROOT/'constraints.txt', torch, wheel)
    yield python
    shutil.rmtree(tmp/'env', ignore_errors=True)

FIRST_CELLS = '''
import json, os, sys
for name in sys.argv[1:]:
    cells = ["".join(c["source"]) for c in json.load(open(name, encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    last = next((i for i,s in enumerate(cells) if "read_ratings(" in s and "def read_ratings" not in s), 6)     # as far as the first that reads data
    world = {"__name__": "__main__", "get_ipython": lambda: "a shell that is not Colab's"}
    for source in cells[:last+1]: exec(compile(source, name, "exec"), world)
    print(os.path.basename(name), "begins well")
'''

def test_notebooks_begin_without_a_clone(empty_env, tmp_path, path):
    "As on Colab after its first cell: the wheel is there, the repository is not"
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs')
    env = {k: v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')} | {'COLLAB_NB_DATA': str(path), 'MPLBACKEND': 'agg'}
    out = run(empty_env, '-c', FIRST_CELLS, *(p.relative_to(ROOT/'nbs') for p in READ), cwd=tmp_path/'nbs', env=env)
    assert out.count('begins well') == len(READ)

@pytest.mark.parametrize('pandas', ['as required', '2.2.*'])
def test_wheel_in_an_empty_environment(pandas, empty_env, tmp_path, path):
    if pandas != 'as required': run(empty_env, '-m', 'pip', 'install', '--quiet', f'pandas=={pandas}')
    env = {k: v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')} | {'REPO': str(ROOT), 'COLLAB_NB_DATA': str(path), 'MPLBACKEND': 'agg'}
    out = run(empty_env, '-c', TRAIN, cwd=tmp_path, env=env)
    assert f"trained under pandas {'2.2' if pandas != 'as required' else ''}" in out

# Where others run it: GitHub's machines, and editors that make a container

@pytest.mark.parametrize('name', ['test', 'docs'])
def test_workflows(name):
    "They parse, pin what they use, may write no more than they must, and run commands that there are"
    flow = yaml.safe_load((ROOT/'.github'/'workflows'/f'{name}.yaml').read_text(encoding='utf-8'))
    assert flow['permissions'] == {'contents': 'read'} and flow['concurrency']['group'] and all(job['timeout-minutes'] for job in flow['jobs'].values())
    for job in flow['jobs'].values(): assert 'permissions' not in job or not any('run' in s for s in job['steps'])      # who may write runs no code of ours
    targets = re.findall(r'(?m)^([\w./-]+):', (ROOT/'Makefile').read_text(encoding='utf-8'))
    steps = [s for job in flow['jobs'].values() for s in job['steps']]
    for s in steps:
        if 'uses' in s: assert re.search(r'@v\d+$|@[0-9a-f]{40}$', s['uses']), s
        elif s['run'].startswith('make '): assert s['run'].split()[1] in targets, s
        else: assert Path(sys.executable).with_name(Path(s['run'].split()[0]).name).exists(), s
    assert any('run' in s for s in steps)

def test_workflow_pythons():
    flow = yaml.safe_load((ROOT/'.github'/'workflows'/'test.yaml').read_text(encoding='utf-8'))
    assert flow['jobs']['test']['strategy']['matrix']['python'][0] == CFG['min_python']

def test_devcontainer():
    made = json.loads((ROOT/'.devcontainer'/'devcontainer.json').read_text(encoding='utf-8'))
    target = made['postCreateCommand'].removeprefix('make ')
    assert re.search(rf'(?m)^{re.escape(target)}:', (ROOT/'Makefile').read_text(encoding='utf-8'))
    assert made['customizations']['vscode']['settings']['python.defaultInterpreterPath'].endswith('/.venv/bin/python')
    for name in made['customizations']['codespaces']['openFiles']: assert (ROOT/name).exists()
