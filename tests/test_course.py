"The course runner: tiny notebooks in temporary folders, never the chapters themselves."
import re,shutil,subprocess,sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from fastcore.nbio import nb2str
from nbdev.clean import clean_nb
from nbformat.v4 import new_code_cell,new_markdown_cell,new_notebook,new_output

from collab_nb import course
from collab_nb.course import (ChapterError,compare_outputs,course_notebooks,main,run_course,run_notebook,store_outputs,to_html,
                              write_addresses)

ROOT = Path(__file__).parent.parent

def make_nb(folder, name, *cells):
    "Write a notebook; strings that start with '# ' are Markdown"
    folder.mkdir(exist_ok=True)
    cells = [new_markdown_cell(o) if o.startswith('# ') else new_code_cell(o) for o in cells]
    nbformat.write(new_notebook(cells=cells), folder/f'{name}.ipynb')
    return folder/f'{name}.ipynb'

def code(nb): return [c for c in nb.cells if c.cell_type == 'code']

# Which notebooks

@pytest.fixture
def nbs(tmp_path):
    for name in ('91_scoreboard', '10_deep', '03_dot_product', '90_checks', '92_course', 'tour', '00_data', 'draft'): make_nb(tmp_path/'nbs', name)
    return tmp_path/'nbs'

def test_order(nbs):
    assert [p.stem for p in course_notebooks(nbs)] == ['tour', '00_data', '03_dot_product', '10_deep', '91_scoreboard']
    assert course_notebooks(nbs, '') == course_notebooks(nbs)

@pytest.mark.parametrize('name', ['03', '3', 3, 'dot_product', '03_dot_product', '03_dot_product.ipynb'])
def test_one_chapter(nbs, name): assert course_notebooks(nbs, name) == [nbs/'03_dot_product.ipynb']

@pytest.mark.parametrize('name,stem', [('tour', 'tour'), ('0', '00_data'), ('scoreboard', '91_scoreboard')])
def test_other_chapters(nbs, name, stem): assert [p.stem for p in course_notebooks(nbs, name)] == [stem]

@pytest.mark.parametrize('name', ['1', '04', 'dot', '92', 'draft', '../00_data'])
def test_no_such_chapter(nbs, name):
    with pytest.raises(ValueError, match='no chapter .*there are: tour, 00_data, 03_dot_product'): course_notebooks(nbs, name)

def test_no_course(tmp_path):
    with pytest.raises(ValueError, match='no chapters in the folder'): course_notebooks(tmp_path)

# Running one: all that may differ between two runs is in this notebook

@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    path = make_nb(folder, '05_all',
        '# Everything',
        'import os,sys,time\nfor i in range(3): print(i, flush=True); time.sleep(.1)\nprint("careful", file=sys.stderr)',
        '#| eval: false\n1/0',
        '#| notest\n1/0',
        'print(sys.executable)\nprint(os.getcwd())\nprint(os.environ["COURSE_TEST"])',
        'object()',
        'list({"a", "b", "c", "d"})',
        'from IPython.display import clear_output,display,HTML\nprint("bar")\nclear_output()\nprint("\\r 50%", end="")\nprint("\\rdone")',
        'h = display(HTML("<div><progress></progress></div>"), display_id=True)\nh.update(HTML("<div><table><tr><td>1.5</td></tr></table></div>"))',
        'h = display(HTML("<progress></progress>"), display_id=True)\nh.update(HTML(""))',
        'import matplotlib.pyplot as plt\nprint("a")\nplt.figure(figsize=(1, 1))\nplt.plot([1, 2])\nplt.show()\nprint("b")',
        'from ipywidgets import interact\ninteract(lambda x: x, x=(0, 5));')
    seen = []
    nb = run_notebook(path, lambda i, n, cell: seen.append((i, n, cell.source[:5])), env={'COURSE_TEST': 'yes'})
    return SimpleNamespace(path=path, seen=seen, nb=nb, cells=code(nb), again=run_notebook(path, env={'COURSE_TEST': 'yes'}))

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

def test_streams(ran): assert [(o.name, o.text) for o in ran.cells[0].outputs] == [('stdout', '0\n1\n2\n'), ('stderr', 'careful\n')]

def test_skipped(ran): assert ran.cells[1].outputs == ran.cells[2].outputs == []

def test_kernel_is_ours(ran):
    python,folder,env = ran.cells[3].outputs[0].text.split()
    assert (python, Path(folder).resolve(), env) == (sys.executable, ran.path.parent.resolve(), 'yes')

def test_other_kernels_are_not_asked(tmp_path, monkeypatch):
    spec = tmp_path/'kernels'/'python3'/'kernel.json'
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/no/such/python", "{connection_file}"], "display_name": "Python 3", "language": "python"}')
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
    for part in ('03_dot_product', 'cell 2 of 3', "KeyError: 'nowhere'", '    {}["nowhere"]', '----> 3'): assert part in str(e.value)
    assert '\x1b' not in str(e.value) and isinstance(e.value, RuntimeError)

def test_syntax_error(tmp_path):
    with pytest.raises(ChapterError, match='cell 1 of 1: SyntaxError'): run_notebook(make_nb(tmp_path, '00_data', 'def f(:'))

def test_timeout(tmp_path):
    with pytest.raises(ChapterError, match='00_data stopped at cell 1 of 1: the cell took too long'):
        run_notebook(make_nb(tmp_path, '00_data', 'import time; time.sleep(60)'), timeout=1)

def test_dead_kernel(tmp_path):
    with pytest.raises(ChapterError, match='cell 1 of 1: the kernel died'): run_notebook(make_nb(tmp_path, '00_data', 'import os; os._exit(1)'))

# Stored against fresh

def nb_of(*outputs, source='x'): return new_notebook(cells=[new_code_cell(source, outputs=list(outputs))])
def said(text, name='stdout'): return new_output('stream', name=name, text=text)
def shown(**data): return new_output('display_data', {k.replace('_', '/'): v for k,v in data.items()})
def table(x): return shown(text_html=f'<style>td {{ width: {x}px }}</style><table><tr><td>loss</td><td>{x}</td></tr></table>')

@pytest.mark.parametrize('a,b', [
    ('loss 0.870', 'loss 0.874'), ('loss   0.87\n', 'loss 0.87'), ('[0.001 -0.002]', '[ 0.001 0.002]'),
    ('1e-3', '0.001'), ('nan', 'nan'), ('', '')])
def test_close_enough(a, b): assert compare_outputs(nb_of(said(a)), nb_of(said(b))) == []

@pytest.mark.parametrize('a,b', [
    ('loss 0.870', 'loss 0.876'), ('loss 0.87', 'gain 0.87'), ('0.5', 'nan'), ('1 2', '1'), ('a', 'a\nb'), ('of 80,000 rows', 'of 81,000 rows'),
    ('Casablanca (1942)', 'Casablanca (1972)')])
def test_different(a, b):
    found = compare_outputs(nb_of(said(a)), nb_of(said(b)))
    assert len(found) == 1 and found[0].startswith('cell 1 of 1: ')

def test_says_what_was_stored_and_what_came():
    assert compare_outputs(nb_of(said('a 1 2')), nb_of(said('a 1 3'))) == ['cell 1 of 1: 1 of 2 numbers, first: stored 2, came 3']
    assert compare_outputs(nb_of(said('same\nAda 1')), nb_of(said('same\nBob 1'))) == ["cell 1 of 1: stored 'Ada 1', came 'Bob 1'"]

def test_whole_numbers_are_exact(): assert compare_outputs(nb_of(said('of 80,000 rows')), nb_of(said('of 80,001 rows')))

def test_tolerance(): assert compare_outputs(nb_of(said('0.87')), nb_of(said('0.874')), tol=0.001)

def test_html():
    assert compare_outputs(nb_of(table(0.870)), nb_of(table(0.874))) == []
    assert len(compare_outputs(nb_of(table(0.87)), nb_of(table(0.88)))) == 1

def test_kinds():
    picture = shown(image_png='AAAA', text_plain='<Figure>')
    assert compare_outputs(nb_of(picture), nb_of(shown(image_png='BBBB', text_plain='<Figure>'))) == []
    for other in ([], [shown(text_plain='<Figure>')], [picture, picture], [said('<Figure>')]): assert len(compare_outputs(nb_of(picture), nb_of(*other))) == 1

def test_timing_is_compared_by_shape():
    assert compare_outputs(nb_of(said('3 s'), source='#| timing'), nb_of(said('5 min'), source='#| timing')) == []
    assert compare_outputs(nb_of(said('3 s'), source='#| timing'), nb_of(source='#| timing'))

def test_other_cells():
    assert compare_outputs(nb_of(source='a'), nb_of(source='b')) == ['cell 1 of 1: the source differs']
    assert compare_outputs(nb_of(), new_notebook()) == ['stored 1 code cells, came 0']

def test_stderr_stored():
    found = compare_outputs(nb_of(said('watch out', 'stderr')), nb_of(said('watch out', 'stderr')))
    assert found == ["cell 1 of 1: stderr stored: 'watch out'"]

# Pages

MARKDOWN = r'''# The *page*

Inline $\hat r_{ui} = u \cdot v$ and $a < b$. [Next](01_baselines.ipynb), [site](https://example.com/x.ipynb).

$$\begin{aligned} a &= \frac{1}{2} \\ b &= \sum_i x_i \end{aligned}$$

<details><summary>Why $x^2$?</summary>

Because **this**, $y$.

</details>

[![Open in Colab](https://example.com/badge.svg)](https://example.com) ![mine](pic.png) ![gone](nowhere.png)

```mermaid
graph TD
```
'''

@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    (folder/'pic.png').write_bytes(b'a picture')
    cells = [new_markdown_cell(MARKDOWN), new_code_cell('#| hide\nsecret = 1', outputs=[said('secret')]), new_code_cell('#| default_exp x'),
             new_code_cell('#| export\nvisible = 2'), new_code_cell('#| fig-alt: "a rising line"\nplot()', outputs=[shown(image_png='AAAA')]),
             new_code_cell('plot2()', outputs=[shown(image_png='BBBB\n')])]
    nb = new_notebook(cells=cells)
    before = deepcopy(nb)
    res = to_html(nb, folder=folder)
    assert nb == before
    return res

def body(page): return page[page.index('<body'):]

def test_page_needs_no_network(page):
    assert 'https://cdnjs' not in page and 'mathjax' not in page.lower() and '<script' not in page
    assert not re.search(r'(?:src|@import|url\()\s*=?\s*["\']?https?:', page) and not re.search('<link', page)

def test_formulas(page):
    assert page.count('<math') == 5 and page.count('display="block"') == 1 and '$' not in body(page) and 'class="tex"' not in page
    bad = to_html(new_notebook(cells=[new_markdown_cell(r'$\nosuch < 1$')]))
    assert r'<code class="tex">\nosuch &lt; 1</code>' in bad

def test_details(page):
    inner = page[page.index('<details'):page.index('</details')]
    assert '<strong>this</strong>' in inner and inner.count('<math') == 2

def test_hidden_cells_and_directives(page):
    assert 'secret' not in page and '#|' not in body(page) and 'default_exp' not in page
    assert 'visible' in page

def test_title(page):
    assert '<title>The *page*</title>' in page
    assert '<title>Mine</title>' in to_html(new_notebook(), title='Mine')

def test_links(page): assert 'href="01_baselines.html"' in page and 'href="https://example.com/x.ipynb"' in page

def test_pictures(page):
    images = re.findall('<img[^>]*>', page)
    assert len(images) == 3 and all('src="data:image/png;base64,' in o and 'alt="' in o for o in images)
    assert 'alt="a rising line"' in images[1] and '>Open in Colab</a>' in page and 'gone' in page

# The whole course

@pytest.fixture
def no_data(monkeypatch): monkeypatch.setattr(course, '_get_data', lambda: None)

@pytest.fixture
def board(monkeypatch):
    "A scoreboard that says which file it was read from"
    monkeypatch.setitem(sys.modules, 'collab_nb.scoreboard', SimpleNamespace(
        read_scoreboard=lambda path=None: [path and Path(path).read_text()], format_scoreboard=lambda rows: f'board of {rows[0]}'))

def test_failing_chapter_stops_the_run(tmp_path, no_data, capsys):
    make_nb(tmp_path/'nbs', '00_data', '# The data', 'print(1)')
    make_nb(tmp_path/'nbs', '01_baselines', '# Averages', '1/0')
    make_nb(tmp_path/'nbs', '02_factors', '# Factors', 'print(2)')
    with pytest.raises(SystemExit) as e: run_course(nbs=tmp_path/'nbs', out=tmp_path/'out')
    assert e.value.code == 1
    printed = capsys.readouterr()
    assert printed.err.startswith('01_baselines stopped at cell 1 of 1: ZeroDivisionError') and 'nbclient' not in printed.err
    assert re.match(r'00_data  \d+ s\n$', printed.out)
    assert sorted(p.name for p in (tmp_path/'out').iterdir()) == ['00_data.html', '00_data.ipynb', 'index.html']
    assert '<a href="00_data.html">The data</a>' in (tmp_path/'out'/'index.html').read_text()
    assert code(nbformat.read(tmp_path/'out'/'00_data.ipynb', as_version=4))[0].outputs[0].text == '1\n'

def test_scoreboard(tmp_path, no_data, board, capsys):
    make_nb(tmp_path/'nbs', '00_data', '# The data')
    make_nb(tmp_path/'nbs', '91_scoreboard', '# Scores', 'import os\nfrom pathlib import Path\nPath(os.environ["COLLAB_NB_SCOREBOARD"]).write_text("this run")')
    run_course(nbs=tmp_path/'nbs', out=tmp_path/'out')
    assert capsys.readouterr().out.endswith('board of this run\n')
    run_course('00', nbs=tmp_path/'nbs', out=tmp_path/'out')
    assert capsys.readouterr().out.endswith('board of None\n')
    assert (tmp_path/'out'/'scoreboard.json').read_text() == 'this run'

def test_no_data_stops_the_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(course, '_get', 'import sys; sys.exit("no source serves")')
    make_nb(tmp_path/'nbs', '00_data', '# The data')
    with pytest.raises(SystemExit): run_course(nbs=tmp_path/'nbs', out=tmp_path/'out')
    assert capfd.readouterr().err == 'no source serves\n' and not (tmp_path/'out').exists()

def test_store_outputs(tmp_path, capsys):
    path = make_nb(tmp_path, '00_data', '# The data', 'print(1.5)\nobject()')
    before = nbformat.read(path, as_version=4)
    assert store_outputs([path]) == [path]
    raw = path.read_bytes()
    assert store_outputs([path]) == [] and path.read_bytes() == raw
    after = nbformat.read(path, as_version=4)
    assert [(c.id, c.source) for c in after.cells] == [(c.id, c.source) for c in before.cells]
    assert [p.name for p in tmp_path.iterdir()] == ['00_data.ipynb']

def test_store_of_a_failing_notebook_changes_nothing(tmp_path):
    path = make_nb(tmp_path, '00_data', '1/0')
    raw = path.read_bytes()
    with pytest.raises(ChapterError): store_outputs([path])
    assert path.read_bytes() == raw

# The repository's address

TEXT = '''[code](https://github.com/{o}/collab_nb), git clone https://github.com/{o}/collab_nb.git, [site](https://{o}.github.io/collab_nb/data.html)
[colab](https://colab.research.google.com/github/{o}/collab_nb/blob/{b}/nbs/00_data.ipynb), [raw](https://raw.githubusercontent.com/{o}/collab_nb/x.png)
'''
OTHERS = 'https://github.com/fastai/fastai https://fastai.github.io/fastai https://github.com/someone/collab_nb-slides https://github.com/someone/my_collab_nb'

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

    changed = write_addresses(tmp_path)
    assert {p.relative_to(tmp_path).as_posix() for p in changed} == {'pyproject.toml', 'README.md', 'CITATION.cff', 'nbs/00_data.ipynb'}
    new = TEXT.format(o='ada-l', b='dev') + OTHERS
    assert (tmp_path/'README.md').read_text() == (tmp_path/'CITATION.cff').read_text() == new
    assert [c.source for c in nbformat.read(tmp_path/'nbs'/'00_data.ipynb', as_version=4).cells] == ['# ' + new, f'"""{new}"""']
    toml = (tmp_path/'pyproject.toml').read_text()
    assert 'Repository = "https://github.com/ada-l/collab_nb"' in toml and 'Documentation = "https://ada-l.github.io/collab_nb"' in toml
    assert write_addresses(tmp_path) == []

# Commands

def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_nb(tmp_path/'nbs', '93_store', 'print(1)')
    make_nb(tmp_path/'nbs', '00_data', '# The data')
    with pytest.raises(SystemExit, match="no chapter '17'; there are: 00_data"): main(['17'])
    main(['--store', '93'])
    assert code(nbformat.read(tmp_path/'nbs'/'93_store.ipynb', as_version=4))[0].outputs[0].text == '1\n'

def test_starts_without_torch():
    seen = 'import sys, collab_nb.course; print({"torch", "fastai"} & set(sys.modules))'
    assert subprocess.run([sys.executable, '-c', seen], capture_output=True, text=True, cwd=ROOT).stdout == 'set()\n'
    assert 'chapter' in subprocess.run([sys.executable, '-m', 'collab_nb.course', '--help'], capture_output=True, text=True, cwd=ROOT).stdout

@pytest.mark.skipif(not shutil.which('make'), reason='needs GNU make')
@pytest.mark.parametrize('target', ['help', 'clean'])
def test_makefile_parses(target):
    res = subprocess.run(['make', '-n', target], capture_output=True, text=True, cwd=ROOT)
    assert res.returncode == 0, res.stderr

@pytest.mark.skipif(not shutil.which('make'), reason='needs GNU make')
def test_make_lists_its_commands():
    said = subprocess.run(['make'], capture_output=True, text=True, cwd=ROOT).stdout
    for name in ('course', 'test', 'lab', 'prepare', 'help', 'clean'): assert re.search(rf'^make {name} ', said, flags=re.M)

def test_a_large_picture_is_tidied_at_once():
    "A pattern that tries each letter of a picture as a beginning takes minutes"
    import time
    nb = nb_of(new_output('display_data', data={'image/png': 'iVBORw0KGgo'*50_000, 'text/html': '<img src="data:image/png;base64,'+'iVBORw0KGgo'*50_000+'">'}))
    start = time.perf_counter()
    course._tidy(nb)
    assert time.perf_counter()-start < 5
