"The package for somebody who has no repository: names, weight, metadata, and the wheel in an empty environment."
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from collab_nb.tools.addresses import is_published, read_settings, write_addresses

CFG = read_settings(ROOT)
GIT = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']

def tracked():
    "The repository's files; in an unpacked source distribution, which has no git, all that are there"
    if (ROOT/'.git').exists():
        files = subprocess.run(GIT, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    else: files = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob('*') if '__pycache__' not in p.parts]
    return [f for f in files if (ROOT/f).is_file()]

TRACKED = tracked()
in_git = pytest.mark.skipif(not (ROOT/'.git').exists(), reason='a source distribution holds generated files, too')

def run(*args, **kwargs):
    res = subprocess.run([str(a) for a in args], capture_output=True, text=True, **kwargs)
    assert res.returncode == 0, res.stdout + res.stderr
    return res.stdout

FRESH = """
import json, fastai.collab, fastai.learner
before = [list(fastai.learner.defaults.callbacks), dict(vars(fastai.learner.Learner))]
import fastai.tabular.all as everything
import collab_nb.checks, collab_nb.further.deep, collab_nb.further.sampler, collab_nb.further.sets
names = {}
exec('from collab_nb.all import *', names)
same = before == [list(fastai.learner.defaults.callbacks), dict(vars(fastai.learner.Learner))]
names = [k for k in names if k[0] != '_']
print(json.dumps({'same': same, 'names': names, 'shadowed': [n for n in names if hasattr(everything, n)]}))
"""

@pytest.fixture(scope='module')
def fresh():
    "What a new process sees when it imports fastai, then us"
    return json.loads(run(sys.executable, '-c', FRESH))

def test_names(fresh):
    for name in ('Learner', 'MSELossFlat', 'set_seed', 'get_ml100k', 'read_ratings', 'read_movies', 'read_users',
                 'random_split', 'fold_split', 'time_split', 'tuning_split', 'rating_dls', 'synth_ratings',
                 'DotProduct', 'Means', 'my_ratings', 'ials', 'ease', 'evaluate', 'Recommender'):
        assert name in fresh['names']
    # those that go further, and those that would shadow fastai's
    assert not {'CollabNet', 'RatedWhat', 'gibbs', 'Embedding', 'mse'} & set(fresh['names'])

def test_names_shadow_nothing_of_fastais(fresh): assert set(fresh['shadowed']) == {'Learner', 'MSELossFlat', 'set_seed'}

def test_importing_changes_nothing_in_fastai(fresh): assert fresh['same']

STOCK = """
import sys, pandas as pd
from collab_nb.all import *
from fastai.collab import CollabDataLoaders, EmbeddingDotBias
ratings = pd.DataFrame({'user': [1, 1, 2, 2, 3]*20, 'movie': [1, 2, 1, 3, 2]*20, 'rating': [5, 3, 4, 1, 2]*20})
dls = CollabDataLoaders.from_df(ratings, item_name='movie', bs=8)
learn = Learner(dls, EmbeddingDotBias(2, 4, 4), loss_func=MSELossFlat())
with learn.no_bar(), learn.no_logging(): learn.fit(1)
learn.export(sys.argv[1])
"""
LOAD = """
import sys
sys.modules['collab_nb'] = None      # as where it isn't installed
from fastai.collab import load_learner
learn = load_learner(sys.argv[1])
print(type(learn).__module__, len(learn.dls.classes['user']))
"""

def test_a_stock_learner_needs_nothing_of_ours(tmp_path):
    "Exported in a session that imported collab_nb, by the `Learner` of `collab_nb.all`, loaded in one without it"
    run(sys.executable, '-W', 'ignore', '-c', STOCK, tmp_path/'learner.pkl')
    assert run(sys.executable, '-W', 'ignore', '-c', LOAD, tmp_path/'learner.pkl') == 'fastai.learner 4\n'

def test_the_bare_package_is_light():
    code = '''
import sys, time
t = time.perf_counter()
import collab_nb
print(time.perf_counter()-t)
assert not {"torch", "pandas"} & set(sys.modules)
'''
    assert float(run(sys.executable, '-c', code)) < 0.5

def test_version_name_and_urls_agree():
    import collab_nb
    project = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
    assert collab_nb.__version__ == CFG['version'] == metadata.metadata('collab_nb')['Version']
    assert project['name'] == CFG['lib_name'] == metadata.metadata('collab_nb')['Name']
    urls = {'Repository': CFG['git_url'], 'Documentation': CFG['doc_url']} if is_published(ROOT) else None
    assert project.get('urls') == urls
    for name in ('CHANGELOG.md', 'CITATION.cff'): assert CFG['version'] in (ROOT/name).read_text(encoding='utf-8')

def test_every_field_of_setup_arrives():
    meta = metadata.metadata('collab_nb')
    assert meta['Summary'] == CFG['description'] and meta['Requires-Python'] == '>=' + CFG['min_python']
    assert (meta['Author'] or meta['Author-email']) == CFG['author']
    assert (meta['License-Expression'] or meta['License']) == 'Apache-2.0'
    assert {'fastai', 'torch', 'pandas'} <= {re.split(r'[^\w-]', r)[0] for r in meta.get_all('Requires-Dist')}
    extras = {k.removesuffix('_requirements') for k in CFG if k.endswith('_requirements')}
    assert set(meta.get_all('Provides-Extra')) == extras
    assert 'collab' in meta.get_payload()[:500]
    classifiers = meta.get_all('Classifier')
    assert 'Programming Language :: Python :: 3.14' in classifiers
    assert any(c.startswith('Topic ::') for c in classifiers)

def test_requirements_are_what_the_library_imports():
    "No more and no less; what builds the course belongs to the extra"
    imported = set()
    for p in ROOT.glob('collab_nb/**/*.py'):
        if p.parent.name == 'tools': continue
        for node in ast.walk(ast.parse(p.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import): imported |= {a.name.split('.')[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level: imported.add(node.module.split('.')[0])
    third = {m for m in imported if m not in sys.stdlib_module_names and m != 'collab_nb'}
    needed = [r for k in ('requirements', 'io_requirements', 'speed_requirements') for r in CFG[k].split()]
    assert third == {re.split(r'[<>=]', r)[0] for r in needed}

def test_addresses_are_written(tmp_path):
    for f in TRACKED:
        if not f.endswith(('.ipynb', '.toml', '.ini', '.md', '.cff')): continue
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/f, tmp_path/f)
    assert write_addresses(tmp_path) == [], 'run make prepare'

@in_git
def test_nothing_of_movielens_is_committed():
    assert not [f for f in TRACKED if re.search(r'(^|/)u\.(data|item|user|genre)$|ml-100k|my_ratings\.csv$', f)]

def test_constraints_name_no_local_version():
    lines = (ROOT/'constraints.txt').read_text(encoding='utf-8').splitlines()
    assert not [line for line in lines if '+' in line or '@' in line]
    assert 'torch==2.13.0' in lines and 'torchvision==0.28.0' in lines

@in_git
def test_the_top_level_is_the_designs():
    folders = {f.split('/')[0] for f in TRACKED if '/' in f}
    assert folders <= {'nbs', 'collab_nb', 'tests', '.ci', '.github', '.devcontainer'}

def test_the_python_that_is_needed_is_said_everywhere():
    least = CFG['min_python']
    assert least == '3.11.5' and f'Python {least} or newer' in (ROOT/'README.md').read_text(encoding='utf-8')
    makefile = (ROOT/'Makefile').read_text(encoding='utf-8')
    assert f'sys.version_info < ({", ".join(least.split("."))})' in makefile and f'Python {least} or newer' in makefile

# The wheel, and what it's made of

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
loaded = load_learner("learner.pkl")
assert torch.allclose(loaded.get_preds(dl=dls.test_dl(one))[0], learn.get_preds(dl=dls.test_dl(one))[0])
means = Means(ratings.iloc[random_split(ratings)[0]])
means.predict(valid.user, valid.movie)
from collab_nb.scoreboard import read_scoreboard, floor
assert floor() > 0
from collab_nb.figures import bar_chart
path = get_ml100k()
assert len(read_ratings(path)) == 100_000 and len(my_ratings(read_movies(path))) == 15
dls = rating_dls(read_ratings(path))
dls.show_batch()
dls.one_batch()
print("trained under pandas", pd.__version__)
'''

EVERY_MODULE = '''
import importlib, pathlib, pkgutil, collab_nb
names = [m.name for m in pkgutil.walk_packages(collab_nb.__path__, "collab_nb.")]
for name in names:
    try: importlib.import_module(name)
    except ImportError as e:
        extra = {"speed": "[speed]", "implicit": "[speed]", "scale": "[speed,io]"}
        assert "collab_nb" + extra[name.removeprefix("collab_nb.further.")] in str(e), e
print(*names)
'''

# What runs with the library alone: all but the site's pages, and what builds the course
# `export` and `15_scale` want polars from the start, `14_speed` and `conjugate` numba, `your_own_ratings` is made of
# shell commands, `teachers` reads the notebooks, and `elsewhere` fetches another table, with pip
OTHERS = 'index', 'api', 'export', '14_speed', '15_scale', 'conjugate', 'your_own_ratings', 'teachers', 'elsewhere'
READ = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if p.stem not in OTHERS
              and p.parent.name not in ('tools', 'masters', '.ipynb_checkpoints'))

def copy_of_the_source(folder):
    for f in TRACKED:
        (folder/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/f, folder/f)
    return folder

@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "The wheel and the source distribution"
    tmp = tmp_path_factory.mktemp('dist')
    source = copy_of_the_source(tmp/'source')
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', tmp, source)
    shutil.rmtree(source)
    return next(tmp.glob('*.whl')),next(tmp.glob('*.tar.gz'))

@pytest.mark.network
def test_the_wheel_holds_the_library_alone(built):
    names = zipfile.ZipFile(built[0]).namelist()
    modules = {n for n in names if n.startswith('collab_nb/')}
    for name in ('further/sets.py', 'checks/__init__.py', 'exercises/bias.py', 'scoreboard.json', 'record.json',
                 'columns.py', 'web/live.js', 'web/live.css', 'web/factor_sheet.js'):
        assert f'collab_nb/{name}' in modules
    assert not [n for n in modules if '/tools/' in n]

@pytest.mark.network
@in_git
def test_the_source_distribution_is_complete(built):
    names = {n.split('/', 1)[1] for n in tarfile.open(built[1]).getnames() if '/' in n}
    assert [f for f in TRACKED if f not in names] == []

@pytest.mark.full
@pytest.mark.network
def test_the_quick_tests_run_from_the_source_distribution(built, tmp_path):
    tarfile.open(built[1]).extractall(tmp_path, filter='data')
    folder = next(tmp_path.glob('collab_nb-*'))
    env = {**os.environ, 'PYTHONPATH': str(folder)}
    quick = 'not (full or movielens or kernel or browser or network)'
    said = run(sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', quick, cwd=folder, env=env)
    assert re.search(r'\d{3,} passed', said)

def needs(requirements, found):
    "Add to `found` what the requirements ask for, and what that asks for in turn, as installed here"
    for text in requirements:
        asked = Requirement(text)
        if asked.marker and not any(asked.marker.evaluate({'extra': e}) for e in ('', *asked.extras)): continue
        name = canonicalize_name(asked.name)
        if name in found: continue
        found[name] = metadata.distribution(name)
        needs(found[name].requires or [], found)
    return found

def linked(python, wheel, asked=None):
    """Give an empty environment the wheel, and links to what it requires, or to the packages that are asked for: no
    network, and seconds instead of minutes"""
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    with zipfile.ZipFile(wheel) as z:
        z.extractall(site)
        about = next(n for n in z.namelist() if n.endswith('.dist-info/METADATA'))
        asked = asked or [line.removeprefix('Requires-Dist: ') for line in z.read(about).decode().splitlines()
                          if line.startswith('Requires-Dist: ') and 'extra ==' not in line]
    for dist in needs(asked, {}).values():
        for top in {f.parts[0] for f in dist.files if f.parts[0] not in ('..', '__pycache__')}:
            if not (site/top).exists(): (site/top).symlink_to(dist.locate_file(top))

@pytest.fixture(scope='module', params=['linked', pytest.param('installed', marks=pytest.mark.full)])
def empty_env(built, tmp_path_factory, request):
    "An environment with the wheel and what it requires, and nothing else; `make test-full` lets pip install it"
    tmp = tmp_path_factory.mktemp('wheel')
    venv.create(tmp/'env', with_pip=request.param == 'installed')
    python = tmp/'env'/('Scripts' if os.name == 'nt' else 'bin')/'python'
    if request.param == 'linked': linked(python, built[0])
    else:
        constraints = ROOT/'constraints.txt'
        torch = next(line for line in constraints.read_text().splitlines() if line.startswith('torch=='))
        run(python, '-m', 'pip', 'install', '--quiet', '--constraint', constraints, torch, built[0])
    yield python
    shutil.rmtree(tmp/'env', ignore_errors=True)

def outside(path):
    "The environment variables of somebody who has no repository"
    kept = {k: v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    return kept | {'REPO': str(ROOT), 'COLLAB_NB_DATA': str(path), 'MPLBACKEND': 'agg'}

FIRST_CELLS = '''
import json, os, sys
for name in sys.argv[1:]:
    cells = json.load(open(name, encoding="utf-8"))["cells"]
    cells = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    # as far as the first that reads data
    last = next((i for i,s in enumerate(cells) if "read_ratings(" in s and "def read_ratings" not in s), 6)
    world = {"__name__": "__main__", "get_ipython": lambda: "a shell that is not Colab's"}
    os.chdir(os.path.dirname(os.path.join(os.environ["NBS"], name)))
    for source in cells[:last+1]: exec(compile(source, name, "exec"), world)
    os.chdir(os.environ["NBS"])
    print(os.path.basename(name), "begins well")
'''

def test_the_examples_run(path, tmp_path):
    "README's and the library page's, as they're written; what they save can be loaded"
    env = os.environ | {'COLLAB_NB_DATA': str(path), 'OMP_NUM_THREADS': '1'}     # two threads disturb each other
    load = "rec = Recommender.load('movies'); print(rec.kind, len(rec.recommend(1)))"
    page = nbformat.read(ROOT/'nbs'/'api.ipynb', as_version=4).cells
    texts = [(ROOT/'README.md').read_text(encoding='utf-8'), *(c.source for c in page if c.cell_type == 'markdown')]
    short,long = (re.search(r'(?s)```python\n(.*?)```', text)[1] for text in texts if '```python' in text)
    assert len([line for line in short.splitlines() if line.strip()]) <= 6
    assert run(sys.executable, '-c', short+load, cwd=tmp_path, env=env).splitlines()[-1] == 'implicit 10'
    assert len([line for line in long.splitlines() if line.strip()]) <= 20
    out = run(sys.executable, '-c', long+load, cwd=tmp_path, env=env)
    stars,lists = (float(line) for line in out.splitlines()[-3:-1])
    assert lists > 2*stars and out.splitlines()[-1] == 'implicit 10'

SERVE = '''
import sys
from collab_nb.serving import Recommender
for folder in sys.argv[1:]:
    rec = Recommender.load(folder)
    me = rec.fold_in({1: 5, 2: 1} if rec.kind == "stars" else [1, 2])
    print(rec.recommend_all(10).to_json(), rec.recommend(me).to_json())
for name in ("torch", "fastai", "matplotlib", "narwhals"):
    try: __import__(name)
    except ImportError: pass
    else: sys.exit(name + " is there")
'''

def test_three_packages_are_enough_to_serve(built, tmp_path, path):
    "The wheel without what it requires, NumPy, pandas and safetensors: every kind gives the same lists"
    import numpy as np

    from collab_nb.ranking import ease,ials
    from collab_nb.serving import Recommender
    from collab_nb.synth import synth_ratings
    venv.create(tmp_path/'env', with_pip=False)
    python = tmp_path/'env'/('Scripts' if os.name == 'nt' else 'bin')/'python'
    linked(python, built[0], ['numpy', 'pandas', 'safetensors'])
    table,rng = synth_ratings(30, 20, 300, seed=0),np.random.default_rng(0)
    stars = Recommender.from_factors(rng.normal(size=(30, 4)), rng.normal(size=(20, 4)), range(1, 31), range(1, 21),
                                     y_range=(-9, 19), seen=table)
    recs = {'stars': stars, 'ials': ials(table, 4), 'ease': ease(table, 9.)}
    for name,rec in recs.items(): rec.save(tmp_path/name)
    out = run(python, '-c', SERVE, *(tmp_path/name for name in recs), cwd=tmp_path, env=outside(path))
    for rec,line in zip(recs.values(), out.splitlines(), strict=True):
        me = rec.fold_in({1: 5, 2: 1} if rec.kind == 'stars' else [1, 2])
        assert line == f'{rec.recommend_all(10).to_json()} {rec.recommend(me).to_json()}'

def test_every_module_of_the_wheel_imports(empty_env, tmp_path, path):
    names = run(empty_env, '-c', EVERY_MODULE, cwd=tmp_path, env=outside(path)).split()
    assert {'collab_nb.further.sampler', 'collab_nb.checks.compare', 'collab_nb.exercises.bias'} <= set(names)
    assert 'collab_nb.tools' not in names

def test_notebooks_begin_without_a_clone(empty_env, tmp_path, path):
    "As on Colab after its first cell: the wheel is there, the repository is not"
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs')
    env = outside(path) | {'NBS': str(tmp_path/'nbs')}
    out = run(empty_env, '-c', FIRST_CELLS, *(p.relative_to(ROOT/'nbs') for p in READ), cwd=tmp_path/'nbs', env=env)
    assert out.count('begins well') == len(READ)

def test_wheel_in_an_empty_environment(empty_env, tmp_path, path):
    assert 'trained under pandas' in run(empty_env, '-c', TRAIN, cwd=tmp_path, env=outside(path))

@pytest.mark.full
@pytest.mark.parametrize('empty_env', ['installed'], indirect=True)
def test_the_oldest_pandas(empty_env, tmp_path, path):
    run(empty_env, '-m', 'pip', 'install', '--quiet', 'pandas==2.2.*')
    assert 'trained under pandas 2.2' in run(empty_env, '-c', TRAIN, cwd=tmp_path, env=outside(path))

# Where others run it: GitHub's machines, and editors that make a container

WORKFLOWS = sorted((ROOT/'.github'/'workflows').glob('*.yaml'))

@pytest.mark.parametrize('file', WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_may_write_no_more_than_they_must(file):
    flow = yaml.safe_load(file.read_text(encoding='utf-8'))
    assert flow['permissions'] == {'contents': 'read'}
    for job in flow['jobs'].values():
        assert job['timeout-minutes'] <= 120
        # who may write runs no code of ours
        assert 'permissions' not in job or not any('run' in s for s in job['steps'])

@pytest.mark.skipif(not shutil.which('make'), reason='needs GNU make')
@pytest.mark.parametrize('file', WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_run_commands_that_there_are(file):
    jobs = yaml.safe_load(file.read_text(encoding='utf-8'))['jobs'].values()
    commands = [s.get('run', '') for job in jobs for s in job['steps']]
    asked = [c.split('#')[0].split() for c in commands if c.startswith('make ')]
    for words in asked: run('make', '-n', *words[1:], cwd=ROOT)
    assert asked or file.stem == 'deploy'

def test_the_oldest_python_is_tested():
    flow = yaml.safe_load((ROOT/'.github'/'workflows'/'test.yaml').read_text(encoding='utf-8'))
    assert CFG['min_python'].startswith(flow['jobs']['test']['strategy']['matrix']['python'][0])

def test_ci_runs_the_readers_command():
    assert 'make test' in (ROOT/'.ci'/'run').read_text(encoding='utf-8')

def test_devcontainer():
    made = json.loads((ROOT/'.devcontainer'/'devcontainer.json').read_text(encoding='utf-8'))
    target = made['postCreateCommand'].removeprefix('make ')
    assert re.search(rf'(?m)^{re.escape(target)}:', (ROOT/'Makefile').read_text(encoding='utf-8'))
    assert made['customizations']['vscode']['settings']['python.defaultInterpreterPath'].endswith('/.venv/bin/python')
    for name in made['customizations']['codespaces']['openFiles']: assert (ROOT/name).exists()
