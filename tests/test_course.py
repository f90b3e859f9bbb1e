"The course runner: tiny notebooks in temporary folders, never the chapters themselves."
import json
import re
import shutil
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT
from fastcore.nbio import nb2str
from nbdev.clean import clean_nb
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from collab_nb.tools import course
from collab_nb.tools.addresses import is_published, write_addresses
from collab_nb.tools.chapters import course_notebooks, read_chapters, write_chapters
from collab_nb.tools.course import main, run_course
from collab_nb.tools.outputs import compare_outputs, tidy
from collab_nb.tools.runner import ChapterError, run_notebook, store_outputs

BLANK = dict(idea='', cover=None, picture='', exercises=False, scoreboard=[], not_in_all=[])

def make_nb(folder, name, *cells):
    "Write a notebook; strings that start with '# ' are Markdown"
    folder.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell(o) if o.startswith('# ') else new_code_cell(o) for o in cells]
    nbformat.write(new_notebook(cells=cells), folder/f'{name}.ipynb')
    return folder/f'{name}.ipynb'

def make_chapters(nbs, *names):
    "List notebooks such as '00_data' and 'further/11_deep' in chapters.json"
    rows = []
    for name in names:
        number,_,module = Path(name).name.partition('_')
        further = 'further.' * name.startswith('further/')
        rows.append({**BLANK, 'number': number, 'module': further+module, 'title': module} if module
                    else {**BLANK, 'notebook': name, 'number': '', 'module': '', 'title': name})
    (nbs/'chapters.json').write_text(json.dumps(rows))

def code(nb): return [c for c in nb.cells if c.cell_type == 'code']

# Which notebooks

@pytest.fixture
def nbs(tmp_path):
    nbs = tmp_path/'nbs'
    for name in ('03_dot_product', 'tour', '00_data', 'draft'): make_nb(nbs, name)
    for folder,name in (('lib', 'scoreboard'), ('tools', 'course'), ('further', '11_deep')): make_nb(nbs/folder, name)
    make_chapters(nbs, 'tour', '00_data', '03_dot_product', 'further/11_deep')
    return nbs

def test_order(nbs):
    assert [p.stem for p in course_notebooks(nbs)] == ['tour', '00_data', '03_dot_product', 'scoreboard']
    longer = course_notebooks(nbs, further=True)
    assert [p.stem for p in longer] == ['tour', '00_data', '03_dot_product', '11_deep', 'scoreboard']
    assert course_notebooks(nbs, '') == course_notebooks(nbs)

@pytest.mark.parametrize('name', ['03', '3', 3, 'dot_product', '03_dot_product', '03_dot_product.ipynb'])
def test_one_chapter(nbs, name): assert course_notebooks(nbs, name) == [nbs/'03_dot_product.ipynb']

@pytest.mark.parametrize('name,stem', [
    ('tour', 'tour'), ('0', '00_data'), ('scoreboard', 'scoreboard'), ('deep', '11_deep')])
def test_other_chapters(nbs, name, stem): assert [p.stem for p in course_notebooks(nbs, name)] == [stem]

@pytest.mark.parametrize('name', ['1', '04', 'dot', 'course', 'draft', '../00_data'])
def test_no_such_chapter(nbs, name):
    message = 'no chapter .*there are: tour, 00_data, 03_dot_product'
    with pytest.raises(ValueError, match=message): course_notebooks(nbs, name)

def test_no_course(tmp_path):
    with pytest.raises(ValueError, match='no chapters.json in the folder'): course_notebooks(tmp_path)

# Running one: all that may differ between two runs is in this notebook

@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    path = make_nb(folder, '05_all',
        '# Everything',
        'import os,sys,time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(.1)\n'
        'print("careful", file=sys.stderr)',
        '#| eval: false\n1/0',
        '#| notest\n1/0',
        'print(sys.executable)\nprint(os.getcwd())\nprint(os.environ["COURSE_TEST"])',
        'object()',
        'list({"a", "b", "c", "d"})',
        'from IPython.display import clear_output,display,HTML\nprint("bar")\nclear_output()\n'
        'print("\\r 50%", end="")\nprint("\\rdone")',
        'h = display(HTML("<div><progress></progress></div>"), display_id=True)\n'
        'h.update(HTML("<div><table><tr><td>1.5</td></tr></table></div>"))',
        'h = display(HTML("<progress></progress>"), display_id=True)\nh.update(HTML(""))',
        'import matplotlib.pyplot as plt\nprint("a")\nplt.figure(figsize=(1, 1))\n'
        'plt.plot([1, 2])\nplt.show()\nprint("b")',
        'from ipywidgets import interact\ninteract(lambda x: x, x=(0, 5));')
    seen = []
    nb = run_notebook(path, lambda i, n, cell: seen.append((i, n, cell.source[:5])), env={'COURSE_TEST': 'yes'})
    again = run_notebook(path, env={'COURSE_TEST': 'yes'})
    return SimpleNamespace(path=path, seen=seen, nb=nb, cells=code(nb), again=again)

def test_same_bytes_twice(ran): assert nb2str(ran.nb) == nb2str(ran.again)

def test_nothing_left_to_clean(ran):
    cleaned = deepcopy(ran.nb)
    clean_nb(cleaned)
    assert nb2str(cleaned) == nb2str(ran.nb)
    assert 'widgets' not in ran.nb.metadata and all(c.execution_count is None for c in ran.cells)

def test_the_file_is_left_alone(ran): assert not any(c.outputs for c in code(nbformat.read(ran.path, as_version=4)))

def test_on_cell(ran):
    assert [s[0] for s in ran.seen] == list(range(1, 12)) and {s[1] for s in ran.seen} == {11}
    assert ran.seen[0][2] == 'impor'

def test_streams(ran):
    said = [(o.name, o.text) for o in ran.cells[0].outputs]
    assert said == [('stdout', '0\n1\n2\n'), ('stderr', 'careful\n')]

def test_skipped(ran): assert ran.cells[1].outputs == ran.cells[2].outputs == []

def test_kernel_is_ours(ran):
    python,folder,env = ran.cells[3].outputs[0].text.split()
    assert (python, Path(folder).resolve(), env) == (sys.executable, ran.path.parent.resolve(), 'yes')

def test_other_kernels_are_not_asked(tmp_path, monkeypatch):
    spec = tmp_path/'kernels'/'python3'/'kernel.json'
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/no/such/python", "{connection_file}"], '
                    '"display_name": "Python 3", "language": "python"}')
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    nb = run_notebook(make_nb(tmp_path, '00_data', 'import sys; print(sys.executable)'))
    assert nb.cells[0].outputs[0].text.strip() == sys.executable

def test_progress_goes_and_tables_stay(ran):
    assert [o.data['text/plain'] for o in ran.cells[4].outputs] == ['<object>']
    assert [o.text for o in ran.cells[6].outputs] == ['done\n']
    assert ['1.5' in o.data['text/html'] for o in ran.cells[7].outputs] == [True]
    assert ran.cells[8].outputs == []

def test_picture_between_prints(ran):
    a,pic,b = ran.cells[9].outputs
    assert (a.text, b.text) == ('a\n', 'b\n') and 'image/png' in pic.data

def test_widget_leaves_its_text(ran): assert [list(o.data) for o in ran.cells[10].outputs] == [['text/plain']]

def test_failing_cell(tmp_path):
    path = make_nb(tmp_path, '03_dot_product', '# Title', 'x = 1', '#| hide\ny = 2\n{}["nowhere"]', 'z = 3')
    with pytest.raises(ChapterError) as e: run_notebook(path)
    for part in ('03_dot_product', 'cell 2 of 3', "KeyError: 'nowhere'", '    {}["nowhere"]', '----> 3'):
        assert part in str(e.value)
    assert '\x1b' not in str(e.value) and isinstance(e.value, RuntimeError)

def test_syntax_error(tmp_path):
    path = make_nb(tmp_path, '00_data', 'def f(:')
    with pytest.raises(ChapterError, match='cell 1 of 1: SyntaxError'): run_notebook(path)

def test_timeout(tmp_path):
    with pytest.raises(ChapterError, match='00_data stopped at cell 1 of 1: the cell took too long'):
        run_notebook(make_nb(tmp_path, '00_data', 'import time; time.sleep(60)'), timeout=1)

def test_dead_kernel(tmp_path):
    path = make_nb(tmp_path, '00_data', 'import os\nos._exit(1)')
    with pytest.raises(ChapterError, match='cell 1 of 1: the kernel died'): run_notebook(path)

# Stored against fresh

def nb_of(*outputs, source='x'): return new_notebook(cells=[new_code_cell(source, outputs=list(outputs))])
def said(text, name='stdout'): return new_output('stream', name=name, text=text)
def shown(**data): return new_output('display_data', {k.replace('_', '/'): v for k,v in data.items()})
def table(x):
    style = f'<style>td {{ width: {x}px }}</style>'
    return shown(text_html=f'{style}<table><tr><td>loss</td><td>{x}</td></tr></table>')

@pytest.mark.parametrize('a,b', [
    ('loss 0.870', 'loss 0.874'), ('loss   0.87\n', 'loss 0.87'), ('[0.001 -0.002]', '[ 0.001 0.002]'),
    ('1e-3', '0.001'), ('nan', 'nan'), ('', '')])
def test_close_enough(a, b): assert compare_outputs(nb_of(said(a)), nb_of(said(b))) == []

@pytest.mark.parametrize('a,b', [
    ('loss 0.870', 'loss 0.876'), ('loss 0.87', 'gain 0.87'), ('0.5', 'nan'), ('1 2', '1'), ('a', 'a\nb'),
    ('of 80,000 rows', 'of 81,000 rows'), ('Casablanca (1942)', 'Casablanca (1972)')])
def test_different(a, b):
    found = compare_outputs(nb_of(said(a)), nb_of(said(b)))
    assert len(found) == 1 and found[0].startswith('cell 1 of 1: ')

def test_says_what_was_stored_and_what_came():
    found = compare_outputs(nb_of(said('a 1 2')), nb_of(said('a 1 3')))
    assert found == ['cell 1 of 1: 1 of 2 numbers, first: stored 2, came 3']
    found = compare_outputs(nb_of(said('same\nAda 1')), nb_of(said('same\nBob 1')))
    assert found == ["cell 1 of 1: stored 'Ada 1', came 'Bob 1'"]

def test_whole_numbers_are_exact():
    assert compare_outputs(nb_of(said('of 80,000 rows')), nb_of(said('of 80,001 rows')))

def test_tolerance(): assert compare_outputs(nb_of(said('0.87')), nb_of(said('0.874')), tol=0.001)

def test_html():
    assert compare_outputs(nb_of(table(0.870)), nb_of(table(0.874))) == []
    assert len(compare_outputs(nb_of(table(0.87)), nb_of(table(0.88)))) == 1

def test_kinds():
    picture = shown(image_png='AAAA', text_plain='<Figure>')
    assert compare_outputs(nb_of(picture), nb_of(shown(image_png='BBBB', text_plain='<Figure>'))) == []
    for other in ([], [shown(text_plain='<Figure>')], [picture, picture], [said('<Figure>')]):
        assert len(compare_outputs(nb_of(picture), nb_of(*other))) == 1

def test_timing_is_compared_by_shape():
    assert compare_outputs(nb_of(said('3 s'), source='#| timing'), nb_of(said('5 min'), source='#| timing')) == []
    assert compare_outputs(nb_of(said('3 s'), source='#| timing'), nb_of(source='#| timing'))

def test_other_cells():
    assert compare_outputs(nb_of(source='a'), nb_of(source='b')) == ['cell 1 of 1: the source differs']
    assert compare_outputs(nb_of(), new_notebook()) == ['stored 1 code cells, came 0']

def test_stderr_stored():
    found = compare_outputs(nb_of(said('watch out', 'stderr')), nb_of(said('watch out', 'stderr')))
    assert found == ["cell 1 of 1: stderr stored: 'watch out'"]

# The whole course

@pytest.fixture
def small(tmp_path, monkeypatch):
    "A course of which only the notebooks are real: no data, and pages that say where they were made from"
    monkeypatch.setattr(course, 'get_data', lambda: None)
    def build_site(out, root, ran):
        Path(out).mkdir(parents=True)
        (Path(out)/'index.html').write_text(f'made from {sorted(p.name for p in Path(ran).iterdir())}')
        return Path(out)/'index.html'
    monkeypatch.setattr(course, 'build_site', build_site)
    monkeypatch.setitem(sys.modules, 'collab_nb.scoreboard', SimpleNamespace(
        read_scoreboard=lambda path=None: [Path(path).read_text() if path else 'stored'],
        format_scoreboard=lambda rows: f'board: {rows[0]}',
        compare_scoreboards=lambda stored, fresh, missing_ok: [] if fresh == ['as stored']
        else [f'{stored[0]} against {fresh[0]}']))
    return tmp_path/'nbs'

@pytest.mark.kernel
def test_failing_chapter_stops_the_run(tmp_path, small, capsys):
    make_nb(small, '00_data', '# The data', 'print(1)')
    make_nb(small, '01_baselines', '# Averages', 'import time; time.sleep(3); 1/0')
    make_chapters(small, '00_data', '01_baselines')
    with pytest.raises(SystemExit) as e: run_course(nbs=small, out=tmp_path/'out')
    assert e.value.code == 1
    printed = capsys.readouterr()
    assert printed.err.startswith('01_baselines stopped at cell 1 of 1: ZeroDivisionError')
    assert 'nbclient' not in printed.err
    assert re.match(r'00_data  \d+ s\n$', printed.out)
    assert [p.name for p in (tmp_path/'out'/'notebooks').iterdir()] == ['00_data.ipynb']
    assert code(nbformat.read(tmp_path/'out'/'notebooks'/'00_data.ipynb', as_version=4))[0].outputs[0].text == '1\n'

@pytest.mark.kernel
@pytest.mark.parametrize('said, verdict', [
    ('as stored', 'all agree'), ('another', 'disagrees with the stored one:\nstored against another')])
def test_scoreboard(tmp_path, small, capsys, said, verdict):
    make_nb(small, '00_data', '# The data')
    write = ('import os\nfrom pathlib import Path\nassert os.environ["COLLAB_NB_SEEDS"] == "1"\n'
             'assert os.environ["COLLAB_NB_QUICK"] == "1"\n'
             f'Path(os.environ["COLLAB_NB_SCOREBOARD"]).write_text("{said}")')
    make_nb(small/'lib', 'scoreboard', '# Scores', write)
    make_chapters(small, '00_data')
    run_course(nbs=small, out=tmp_path/'out')
    printed = capsys.readouterr().out
    assert 'board: stored' in printed and verdict in printed
    assert (tmp_path/'out'/'pages'/'index.html').read_text() == "made from ['00_data.ipynb', 'lib']"

@pytest.mark.kernel
def test_one_chapter_leads_to_its_page(tmp_path, small, capsys):
    make_nb(small/'further', '11_deep', '# Deep')
    make_chapters(small, 'further/11_deep')
    run_course('11', nbs=small, out=tmp_path/'out')
    assert capsys.readouterr().out.endswith(f"The pages: {tmp_path/'out'/'pages'/'further'/'deep.html'}\n")

def test_no_data_stops_the_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(f'{course.__name__}._get', 'import sys; sys.exit("no source serves")')
    make_nb(tmp_path/'nbs', '00_data', '# The data')
    make_chapters(tmp_path/'nbs', '00_data')
    with pytest.raises(SystemExit): run_course(nbs=tmp_path/'nbs', out=tmp_path/'out')
    assert capfd.readouterr().err == 'no source serves\n' and not (tmp_path/'out').exists()

@pytest.mark.kernel
def test_store_outputs(tmp_path, capsys):
    path = make_nb(tmp_path, '00_data', '# The data', 'print(1.5)\nobject()')
    before = nbformat.read(path, as_version=4)
    assert store_outputs([path]) == [path]
    raw = path.read_bytes()
    assert store_outputs([path]) == [] and path.read_bytes() == raw
    after = nbformat.read(path, as_version=4)
    assert [(c.id, c.source) for c in after.cells] == [(c.id, c.source) for c in before.cells]
    assert [p.name for p in tmp_path.iterdir()] == ['00_data.ipynb']

@pytest.mark.kernel
def test_outputs_that_hold_are_kept(tmp_path):
    "Another machine's last digits leave no diff"
    path = make_nb(tmp_path, '00_data', '0.8712')
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].outputs = [new_output('execute_result', {'text/plain': '0.8714'})]
    nbformat.write(nb, path)
    raw = path.read_bytes()
    assert store_outputs([path]) == [] and path.read_bytes() == raw

@pytest.mark.kernel
def test_store_of_a_failing_notebook_changes_nothing(tmp_path):
    path = make_nb(tmp_path, '00_data', '1/0')
    raw = path.read_bytes()
    with pytest.raises(ChapterError): store_outputs([path])
    assert path.read_bytes() == raw

# The repository's address

TEXT = '''[code](https://github.com/{o}/collab_nb), git clone https://github.com/{o}/collab_nb.git,
[site](https://{o}.github.io/collab_nb/data.html), [raw](https://raw.githubusercontent.com/{o}/collab_nb/x.png),
[colab](https://colab.research.google.com/github/{o}/collab_nb/blob/{b}/nbs/00_data.ipynb)
'''
OTHERS = ('https://github.com/fastai/fastai https://fastai.github.io/fastai '
          'https://github.com/someone/collab_nb-slides https://github.com/someone/my_collab_nb')

def test_addresses(tmp_path):
    old = TEXT.format(o='your_name', b='main') + OTHERS
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/name, tmp_path/name)
    for name in ('README.md', 'CITATION.cff'): (tmp_path/name).write_text(old)
    make_nb(tmp_path/'nbs', '00_data', '# ' + old, f'"""{old}"""')
    make_nb(tmp_path/'nbs'/'exercises', '00_data', '# None here')
    assert not any(p.suffix == '.ipynb' for p in write_addresses(tmp_path))  # as it is, nothing to do
    settings = (tmp_path/'settings.ini').read_text()
    settings = re.sub(r'(?m)^user = .*$', 'user = ada-l', settings)
    (tmp_path/'settings.ini').write_text(re.sub(r'(?m)^branch = .*$', 'branch = dev', settings))

    changed = {p.relative_to(tmp_path).as_posix() for p in write_addresses(tmp_path)}
    assert changed == {'pyproject.toml', 'README.md', 'CITATION.cff', 'nbs/00_data.ipynb'}
    new = TEXT.format(o='ada-l', b='dev') + OTHERS
    assert (tmp_path/'README.md').read_text() == (tmp_path/'CITATION.cff').read_text() == new
    cells = nbformat.read(tmp_path/'nbs'/'00_data.ipynb', as_version=4).cells
    assert [c.source for c in cells] == ['# ' + new, f'"""{new}"""']
    toml = (tmp_path/'pyproject.toml').read_text()
    assert 'Repository = "https://github.com/ada-l/collab_nb"' in toml
    assert 'Documentation = "https://ada-l.github.io/collab_nb"' in toml
    assert write_addresses(tmp_path) == []

def copy_of_the_sources(folder, *names):
    "The notebooks, the package and the files `names` in `folder`"
    for name in names: shutil.copy(ROOT/name, folder/name)
    ignored = shutil.ignore_patterns('images', '.ipynb_checkpoints', '__pycache__')
    for name in ('nbs', 'collab_nb'): shutil.copytree(ROOT/name, folder/name, ignore=ignored)

def test_badges_appear_with_an_owner_and_go_without(tmp_path):
    "README of this repository, before and after somebody publishes it"
    copy_of_the_sources(tmp_path, 'settings.ini', 'pyproject.toml', 'README.md', 'CITATION.cff')
    def visible(): return re.sub(r'(?s)<!--.*?-->', '', (tmp_path/'README.md').read_text())
    def set_user(name):
        settings = tmp_path/'settings.ini'
        settings.write_text(re.sub(r'(?m)^user = .*$', f'user = {name}', settings.read_text()))
        return [*write_addresses(tmp_path), *write_chapters(tmp_path)]
    before = (tmp_path/'README.md').read_text()
    assert not is_published(tmp_path) and 'colab.research' not in before and 'your_name' not in visible()
    set_user('ada-l')
    assert visible().count('colab-badge.svg') >= len(read_chapters(ROOT/'nbs'))
    assert 'git clone https://github.com/ada-l/collab_nb' in visible()
    set_user('your_name')
    assert (tmp_path/'README.md').read_text() == before
    assert (tmp_path/'pyproject.toml').read_text() == (ROOT/'pyproject.toml').read_text()

def test_lists_are_written(tmp_path):
    copy_of_the_sources(tmp_path, 'settings.ini', 'README.md')
    assert write_chapters(tmp_path) == [], 'run make prepare'

# Commands

@pytest.mark.kernel
def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_nb(tmp_path/'nbs'/'lib', 'store', 'print(1)')
    make_nb(tmp_path/'nbs', '00_data', '# The data')
    make_chapters(tmp_path/'nbs', '00_data')
    with pytest.raises(SystemExit, match="no chapter '17'; there are: 00_data"): main(['17'])
    main(['--store', 'store'])
    assert code(nbformat.read(tmp_path/'nbs'/'lib'/'store.ipynb', as_version=4))[0].outputs[0].text == '1\n'

def test_starts_without_torch():
    def said(*args): return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=ROOT).stdout
    seen = 'import sys, collab_nb.tools.course\nprint({"torch", "fastai"} & set(sys.modules))'
    assert said('-c', seen) == 'set()\n'
    assert 'chapter' in said('-m', 'collab_nb.tools.course', '--help')

@pytest.mark.skipif(not shutil.which('make'), reason='needs GNU make')
@pytest.mark.parametrize('target', ['help', 'clean'])
def test_makefile_parses(target):
    res = subprocess.run(['make', '-n', target], capture_output=True, text=True, cwd=ROOT)
    assert res.returncode == 0, res.stderr

@pytest.mark.skipif(not shutil.which('make'), reason='needs GNU make')
def test_make_lists_its_commands():
    said = subprocess.run(['make'], capture_output=True, text=True, cwd=ROOT).stdout
    for name in ('course', 'test', 'test-quick', 'test-full', 'lab', 'docs', 'prepare', 'help', 'clean'):
        assert re.search(rf'^make {name} ', said, flags=re.M)

def test_a_large_picture_is_tidied_at_once():
    "A pattern that tries each letter of a picture as a beginning takes minutes"
    picture = 'iVBORw0KGgo'*50_000
    page = f'<img src="data:image/png;base64,{picture}">'
    nb = nb_of(new_output('display_data', data={'image/png': picture, 'text/html': page}))
    start = time.perf_counter()
    tidy(nb)
    assert time.perf_counter()-start < 5
