"Each notebook runs, is clean, agrees with what is stored, and keeps the promises that the course makes of its pages."
import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from dataclasses import is_dataclass

import nbformat
import pytest
from conftest import NBS, ROOT
from fastcore.docments import docments

from collab_nb.scoreboard import compare_scoreboards, read_scoreboard
from collab_nb.tools.addresses import read_settings
from collab_nb.tools.chapters import is_further, read_chapters
from collab_nb.tools.outputs import compare_outputs, directives
from collab_nb.tools.runner import run_notebook

NOTEBOOKS = sorted(p for p in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
ROWS = read_chapters(NBS)
CHAPTERS = [NBS/f'{r["notebook"]}.ipynb' for r in ROWS if not r['notebook'].startswith('exercises/')]
MASTERS,EXERCISES,LIB = (sorted((NBS/folder).glob('*.ipynb')) for folder in ('masters', 'exercises', 'lib'))
SCOREBOARD,TOUR = NBS/'lib'/'scoreboard.ipynb',NBS/'tour.ipynb'

def name_of(p): return p.relative_to(NBS).with_suffix('').as_posix()

def each(paths): return pytest.mark.parametrize('nb_path', paths, ids=name_of)

every_notebook = each(NOTEBOOKS)
# the tour and the sampler have an anatomy of their own
every_chapter = each([p for p in CHAPTERS if p.stem not in ('tour', '13_sampler')])

def read(p): return nbformat.read(p, as_version=4)
def code(nb): return [c for c in nb.cells if c.cell_type == 'code' and c.source.strip()]
def python(source):
    "A cell's source without its magics"
    return re.sub(r'(?m)^[%!].*$', '', source)

def prose(nb): return [c for c in nb.cells if c.cell_type == 'markdown']

# They run

# solved and blank exercises are long and rarely break: what they ask is in test_exercises.py
def runs(p): return pytest.param(p, id=name_of(p), marks=pytest.mark.full if p in MASTERS + EXERCISES else ())

@pytest.mark.kernel
@pytest.mark.parametrize('nb_path', [runs(p) for p in NOTEBOOKS if p != SCOREBOARD])
def test_runs_and_agrees_with_what_is_stored(nb_path, path):
    "One run in a process of its own answers both questions: does it run, and do its numbers still hold"
    fresh = run_notebook(nb_path)
    assert compare_outputs(read(nb_path), fresh) == []
    if nb_path == NBS/'appendices'/'loader.ipynb':
        for nb,most in ((read(nb_path), 0.6), (fresh, 0.75)):     # the second on a machine that may be busy
            text = ''.join(o.text for c in code(nb) if 'timing' in directives(c)[0] for o in c.outputs)
            assert float(re.search(r'rating_dls .* (\S+) times the first', text)[1]) <= most, text

@pytest.mark.kernel
@pytest.mark.parametrize('quick', [
    pytest.param('1', id='our loader'), pytest.param('', id='every row', marks=pytest.mark.full)])
def test_the_scoreboard_still_holds(tmp_path, quick):
    "Each model trained again from the first of the seeds; fastai's own loader, which is slow, in `make test-full`"
    board = tmp_path/'board.json'
    run_notebook(SCOREBOARD, env={'COLLAB_NB_SCOREBOARD': str(board), 'COLLAB_NB_SEEDS': '1', 'COLLAB_NB_QUICK': quick})
    assert compare_scoreboards(read_scoreboard(), read_scoreboard(board), missing_ok=bool(quick)) == []

# They are clean

@every_notebook
def test_outputs_are_stored(nb_path):
    nb = read(nb_path)
    assert any(c.outputs for c in code(nb)) or not code(nb)     # the landing page is all text
    for c in code(nb):
        for o in c.outputs:
            assert o.output_type != 'error', c.source
            assert o.get('name') != 'stderr', c.source
            assert not any('widget' in kind for kind in o.get('data', {})), c.source
    assert nb_path.stat().st_size < 500_000
    text = nb_path.read_text(encoding='utf-8')
    assert str(ROOT) not in text and '/home/' not in text

@every_notebook
@pytest.mark.filterwarnings('ignore:unclosed file:ResourceWarning')     # nbdev's own
def test_is_clean(nb_path, tmp_path):
    from nbdev.clean import nbdev_clean
    copy = shutil.copy(nb_path, tmp_path)
    nbdev_clean.__wrapped__(fname=copy)
    assert nb_path.read_text(encoding='utf-8') == (tmp_path/nb_path.name).read_text(encoding='utf-8')

EXPORT = 'from nbdev.export import nb_export\nfrom nbdev.doclinks import nbdev_export\nnbdev_export()'

def test_the_library_is_in_step(tmp_path):
    for name in ('nbs', 'collab_nb'):
        shutil.copytree(ROOT/name, tmp_path/name, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    for name in ('pyproject.toml', 'settings.ini', 'README.md'): shutil.copy(ROOT/name, tmp_path)
    subprocess.run([sys.executable, '-c', EXPORT], cwd=tmp_path, check=True)
    files = {folder: {p.relative_to(folder): p.read_bytes() for p in sorted(folder.glob('collab_nb/**/*'))
                      if p.is_file() and '__pycache__' not in p.parts} for folder in (ROOT, tmp_path)}
    for name,content in files[ROOT].items(): assert content == files[tmp_path].get(name), f'{name}: run make prepare'
    assert files[ROOT].keys() == files[tmp_path].keys()

@every_notebook
def test_imports_stand_alone(nb_path):
    for c in code(read(nb_path)):
        body = ast.parse(python(c.source)).body
        imports = [isinstance(n, (ast.Import, ast.ImportFrom)) for n in body]
        assert all(imports) or not any(imports), c.source

def only_imports(source):
    return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(python(source)).body)

def imported(source):
    "Modules of ours that a piece of code imports"
    for node in ast.walk(ast.parse(python(source))):
        if isinstance(node, ast.Import): yield from (a.name for a in node.names if a.name.startswith('collab_nb.'))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split('.')[0] == 'collab_nb':
            if '.' in node.module: yield node.module
            else: yield from (f'collab_nb.{a.name}' for a in node.names)

def test_chapters_form_a_staircase():
    "A chapter imports from chapters above it and from the library's parts, in its module and in its cells"
    allowed = {f'collab_nb.{p.stem}' for p in LIB}
    for r in ROWS:
        if not r['module']: continue
        found = {m for c in code(read(NBS/f'{r["notebook"]}.ipynb')) for m in imported(c.source)}
        assert found <= allowed, f'{r["notebook"]} imports {sorted(found - allowed)}'
        allowed.add(f'collab_nb.{r["module"]}')

def test_the_librarys_parts_need_no_chapter():
    "All but the one that puts the chapters' models together for the command line"
    parts = {f'collab_nb.{p.stem}' for p in LIB}
    for p in LIB:
        if p.stem == 'fitting': continue
        exported = [c.source for c in code(read(p)) if {'export', 'exports', 'exporti'} & set(directives(c)[0])]
        assert {m for s in exported for m in imported(s)} <= parts, p.name

# What they say

DROPPED = [
    r'(?s)`[^`]*`', r'(?s)<code>.*?</code>', r'(?s)\$\$.*?\$\$', r'\$[^$\n]*\$', r'\[[^\]]*\]\([^)]*\)', r'<[^>]*>',
    r'\([^()]*\b(19|20)\d\d\)', r'(?m)^\*\*(Further reading|Next|Before).*$', r'[Cc]hapters? \d\d', r'\bu[1-5]\b',
    r'version [\d.]+', r'MovieLens-100k', r'1 - 1/n|1/n|1/e']

def numbers(text):
    """The numbers in prose, without code, formulas, links, references, questions' markup and the names of chapters,
    folds and versions"""
    for drop in DROPPED: text = re.sub(drop, ' ', text)
    return re.findall(r'\d[\d,.]*\d|\d', text)

ASSERTS = re.compile(r'assert|test_eq|test_close|test_fail|set_seed|bs=|^stars|^def |\bEpoch')

# blank notebooks have their masters' prose; the numbers on the landing page are those of chapters
@each([p for p in NOTEBOOKS if p not in EXERCISES and p.stem != 'index'])
def test_prose_names_only_numbers_that_a_cell_asserts(nb_path):
    nb = read(nb_path)
    asserted = ' '.join(line for c in code(nb) for line in c.source.splitlines() if ASSERTS.search(line))
    held = {n.replace('_', '').replace(',', '') for n in re.findall(r'\d[\d_,.]*\d|\d', asserted)}
    held |= {str(n) for n in range(6)}
    for c in prose(nb):
        loose = [n for n in numbers(c.source) if n.replace(',', '').rstrip('.') not in held]
        assert not loose, f'{loose} in: {c.source}'

@every_notebook
def test_each_picture_has_words(nb_path):
    "After a cell with a picture the prose says, in italics, what it shows"
    cells = read(nb_path).cells
    for i,c in enumerate(cells):
        if c.cell_type != 'code' or not any('image/png' in o.get('data', {}) for o in c.outputs): continue
        after = next((d for d in cells[i+1:] if d.cell_type == 'markdown'), None)
        assert after is not None and re.match(r'\*[^*\n][^*]*\*', after.source), c.source

# the landing page has no code, and the tour needs nothing that Colab hasn't got
@each([p for p in NOTEBOOKS if p not in (NBS/'index.ipynb', TOUR)])
def test_installs_on_colab_and_only_there(nb_path):
    first = code(read(nb_path))[0].source
    asked = []
    class Shell:
        def __init__(self, name): self.name = name
        def __str__(self): return self.name
        def run_line_magic(self, *args): asked.append(args)
    exec(first, {'get_ipython': lambda: Shell('<ipykernel.zmqshell.ZMQInteractiveShell object>')})
    assert asked == []
    exec(first, {'get_ipython': lambda: Shell('<google.colab._shell.Shell object>')})
    assert asked == [('pip', f"install -q git+{read_settings(ROOT)['git_url']}")]

def test_the_tour_needs_only_fastai():
    source = '\n'.join(python(c.source) for c in code(read(TOUR)))
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    modules = {m for n in nodes for m in ([n.module] if isinstance(n, ast.ImportFrom) else [a.name for a in n.names])}
    assert {m.split('.')[0] for m in modules} <= {'fastai', *sys.stdlib_module_names}
    assert not re.search(r'collab_nb|pip install|(?m:^[%!])', '\n'.join(c.source for c in code(read(TOUR))))

SHOWN = {'text/plain', 'text/html', 'text/markdown', 'text/latex', 'image/png', 'image/svg+xml'}

@every_notebook
def test_github_shows_the_outputs(nb_path):
    """Only kinds that GitHub's page shows; it takes scripts and styles out of HTML, so what is left must say something,
    and hold the numbers of a table that a script moves"""
    nb = read(nb_path)
    text = '\n'.join(c.source for c in prose(nb))
    for c in code(nb):
        for o in c.outputs:
            assert set(o.get('data', {})) <= SHOWN, c.source
            page = o.get('data', {}).get('text/html', 'words')
            bare = re.sub(r'(?s)<(script|style)\b.*?</\1>', '', page)
            assert re.sub(r'<[^>]*>', '', bare).strip() or re.search(r'<(img|svg)\b', bare), c.source
            framed = re.search(r'<(iframe|object|embed|canvas|video|audio)\b', page)
            # a page in a frame is left out there: a picture of it has to stand in
            assert not framed or (nb_path.stem == 'rate_movies' and 'images/rate_movies.png' in text), c.source
            if '<script' in page: assert len(re.findall(r'<td[^>]*>\s*−?\d', bare)) > 5, c.source

@every_chapter
def test_anatomy(nb_path):
    nb = read(nb_path)
    text = '\n\n'.join(c.source for c in prose(nb))
    assert re.match(r'# .+\n\n> By the end, ', nb.cells[0].source)
    for head in ('## What we learned', '## Questions', '**Further reading:**'): assert head in text
    assert 5 <= text.count('<details>') == text.count('</details>') <= 8
    if nb_path.name >= '03': assert '## Where we stand' in text
    if nb_path.name >= '01':
        assert any({'image/png', 'image/svg+xml'} & set(o.get('data', {})) for c in code(nb) for o in c.outputs)
    lessons = [c.source for c in code(nb)
               if not {'export', 'exports'} & set(directives(c)[0]) and not only_imports(c.source)]
    lengths = [len(source.splitlines()) for source in lessons]
    assert max(lengths) <= 15, 'an idea a cell'

@every_notebook
def test_links_between_notebooks(nb_path):
    for c in prose(read(nb_path)):
        for target in re.findall(r'\]\(([\w./]+\.ipynb)', c.source): assert (nb_path.parent/target).exists(), target

# What they export

def modules():
    "The generated modules, as dotted names below collab_nb"
    for p in sorted(ROOT.glob('collab_nb/**/*.py')):
        if 'AUTOGENERATED' in p.read_text(encoding='utf-8') and p.parent.name != 'exercises':
            yield '.'.join(p.relative_to(ROOT/'collab_nb').with_suffix('').parts)

def functions():
    "Every public function and class of the library, and their public methods"
    for name in modules():
        module = importlib.import_module(f'collab_nb.{name}')
        for k in module.__all__:
            o = getattr(module, k)
            if getattr(o, '__module__', None) != module.__name__ or not callable(o): continue
            yield f'{name}.{k}', o
            if inspect.isclass(o):
                for m,f in vars(o).items():
                    if inspect.isfunction(f) and not m.startswith('_'): yield f'{name}.{k}.{m}', f

# what these take is described in the class's docstring, or by the interface of fastai that they fill
ELSEWHERE = ('loader.RatingDL', 'loader.RatingTable', 'loader.RatingDataLoaders', 'loader.RatingCheck',
             'loader.Learner', 'loader.show_', 'synth.Truth', 'figures.Html')

@pytest.mark.parametrize('name, o', list(functions()), ids=lambda x: x if isinstance(x, str) else '')
def test_is_documented(name, o):
    assert inspect.getdoc(o), f'{name} has no docstring'
    if inspect.isclass(o) and (issubclass(o, Exception) or '__init__' not in vars(o)): return
    if name.startswith(ELSEWHERE): return
    target = o.__init__ if inspect.isclass(o) and not is_dataclass(o) else o
    docs = docments(target, full=True)
    for p in inspect.signature(target).parameters.values():
        if p.name in ('self', 'x', 'kwargs', 'args') or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL): continue
        assert docs[p.name].docment, f'{name}: parameter {p.name} has no comment'

def test_module_docstrings_say_what_is_in_them():
    for name in modules():
        doc = importlib.import_module(f'collab_nb.{name}').__doc__
        assert doc and len(doc) > 20 and not doc.startswith('By the end'), name

def test_every_core_chapter_is_listed():
    listed = {r['notebook'] for r in ROWS}
    found = {name_of(p) for p in (*NBS.glob('[0-9][0-9]_*.ipynb'), *NBS.glob('further/*.ipynb'))}
    assert found <= listed and len([r for r in ROWS if is_further(r)]) == len(list(NBS.glob('further/*.ipynb')))

# Private names stay private

def test_no_module_uses_anothers_private_names():
    "`module._name`, where `module` was imported from this package; ruff sees to `from module import _name`"
    files = [p for folder in ('collab_nb', 'tests') for p in (ROOT/folder).rglob('*.py')]
    sources = {p.relative_to(ROOT).as_posix(): p.read_text(encoding='utf-8') for p in files}
    sources |= {name_of(p): '\n'.join(python(c.source) for c in code(read(p))) for p in NOTEBOOKS}
    for name,source in sources.items():
        nodes = list(ast.walk(ast.parse(source)))
        imports = [n for n in nodes if isinstance(n, ast.ImportFrom)]
        ours = {a.asname or a.name for n in imports if n.level or (n.module or '').startswith('collab_nb')
                for a in n.names}
        reached = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
        used = [f'{n.value.id}.{n.attr}' for n in reached if n.value.id in ours and re.match(r'_[a-z]', n.attr)]
        assert not used, f'{name} uses {used}'

def test_ruff_finds_nothing():
    command = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '--quiet', ROOT]
    res = subprocess.run(command, capture_output=True, text=True)
    assert res.returncode == 0, res.stdout[-3000:]
