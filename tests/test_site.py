"The site as files: every notebook has its page, and what a page points at is there."
import json
import re
import shutil
import subprocess
import sys
from copy import copy
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import NBS, ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import collab_nb.all
from collab_nb.tools.addresses import write_addresses
from collab_nb.tools.chapters import read_chapters, write_chapters
from collab_nb.tools.site import build_site

# the masters hold the answers
PUBLISHED = sorted(p for p in NBS.rglob('*.ipynb') if p.parent.name not in ('masters', '.ipynb_checkpoints'))

def page_name(path): return re.sub(r'(^|/)\d\d_', r'\1', path.relative_to(NBS).with_suffix('.html').as_posix())

def parsed(p): return BeautifulSoup(p.read_text(encoding='utf-8'), 'html.parser')

@pytest.fixture(scope='module')
def pages(site): return {p.relative_to(site).as_posix(): parsed(p) for p in sorted(site.rglob('*.html'))}

def test_every_notebook_has_a_page(pages): assert set(pages) == {page_name(p) for p in PUBLISHED}

def test_titles_and_descriptions(pages):
    titles = [soup.title.text for soup in pages.values()]
    assert len(set(titles)) == len(titles) and all(titles)
    for name,soup in pages.items():
        about = soup.find('meta', attrs={'name': 'description'})
        assert about and len(about['content']) > 30, name

def broken(site, pages):
    "What the pages point at and is not there"
    for name,soup in pages.items():
        for tag,attr in (('a', 'href'), ('img', 'src'), ('link', 'href'), ('script', 'src')):
            for el in soup.find_all(tag, attrs={attr: True}):
                url = urlsplit(el[attr])
                if url.scheme or url.netloc: continue
                target = ((site/name).parent/unquote(url.path)).resolve() if url.path else site/name
                if target.is_dir(): target /= 'index.html'
                key = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else name
                lost = url.fragment and key in pages and not pages[key].find(id=unquote(url.fragment))
                if not target.exists(): yield f'{name}: {el[attr]} is not there'
                elif lost: yield f'{name}: {el[attr]} has no such place'

def test_no_broken_link_anchor_or_picture(site, pages): assert list(broken(site, pages)) == []

def test_a_broken_link_would_be_found(site):
    page = '<a href="api.html#nowhere">a</a><img src="images/none.png"><a href="#top">b</a>'
    soup,api = (BeautifulSoup(text, 'html.parser') for text in (page, '<p id="somewhere">'))
    found = list(broken(site, {'x.html': soup, 'api.html': api, 'index.html': soup}))
    assert len([f for f in found if f.startswith('x.html')]) == 3

def test_each_picture_of_a_notebook_is_on_its_page(pages):
    for path in PUBLISHED:
        if path.stem in ('index', 'api'): continue
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == 'code']
        n = sum('image/png' in o.get('data', {}) for c in cells for o in c.outputs)
        assert len(pages[page_name(path)].find_all('img')) >= n, f'{path.name}: the page lacks one of {n} pictures'

def test_each_picture_has_a_text(pages):
    for name,soup in pages.items():
        for img in soup.find_all('img'): assert len(img.get('alt', '')) > 10, f'{name}: {str(img)[:80]}'

def test_nothing_comes_from_the_network(site, pages):
    for name,soup in pages.items():
        for el in soup.find_all(['script', 'img', 'iframe', 'source']):
            assert not el.get('src', '').startswith(('http', '//')), f'{name}: {str(el)[:200]}'
        for el in soup.find_all('link', rel='stylesheet'):
            assert not el['href'].startswith(('http', '//')), f'{name}: {el}'
    for css in site.rglob('*.css'):
        assert not re.search(r'@import|url\(["\']?https?:', css.read_text(encoding='utf-8')), css

def test_formulas_are_mathml(pages):
    assert len(pages['weight_decay.html'].find_all('math')) > 5
    for name,soup in pages.items():
        soup = copy(soup)     # the other tests need the code
        for el in soup(['pre', 'code']): el.extract()
        assert not soup.find(class_='math') and not re.search(r'\\\(|\$\$', soup.get_text()), name

def test_lessons_show_their_code(site):
    "The exported class is on the page of its chapter; its documentation is on that of the library"
    chapter,library = ((site/f'{name}.html').read_text(encoding='utf-8') for name in ('dot_product', 'api'))
    assert 'A rating as the dot product' in chapter
    assert 'Exported source' not in chapter and 'id="dotproduct"' not in chapter
    assert 'id="dotproduct"' in library

def test_dead_links_do_not_appear(site):
    "As long as the repository's owner is a placeholder, nothing leads to it"
    for p in site.rglob('*.html'):
        page = p.read_text(encoding='utf-8')
        assert not re.search(r'href="[^"]*your_name[^"]*"', page), p.name
        assert 'colab-badge' not in page, p.name

def test_imports_are_folded(pages):
    for name in ('dot_product.html', 'further/sets.html'):
        folded = [d for d in pages[name].find_all('details') if d.summary and d.summary.text.strip() == 'Imports']
        assert folded and all(d.find('pre') for d in folded), name

def test_drawings_fit(pages):
    "A drawing made of characters gets letters that are small enough for its width"
    drawings = [pre for soup in pages.values() for pre in soup.find_all('pre')
                if pre.get('style', '').startswith('font-size')]
    assert len(drawings) >= 6
    for pre in drawings:
        longest = max(map(len, pre.get_text().splitlines()))
        assert f'/ {longest} *' in pre['style']

def test_the_library_page_names_all():
    text = (NBS/'api.ipynb').read_text(encoding='utf-8')
    shown = set(re.findall(r'show_doc\((\w+)\)', text))
    homes = {n: getattr(getattr(collab_nb.all, n), '__module__', '') for n in collab_nb.all.__all__}
    ours = {n for n,home in homes.items() if home.startswith('collab_nb')}
    assert ours - shown == set()

def test_the_landing_page_leads_to_every_chapter(pages):
    links = {a['href'] for a in pages['index.html'].find_all('a', href=True)}
    for r in read_chapters(NBS):
        if r['cover'] is not None: assert page_name(NBS/f'{r["notebook"]}.ipynb') in links, r['title']

def test_the_menus_name_every_notebook():
    text = (NBS/'menus.yml').read_text(encoding='utf-8')
    for p in PUBLISHED:
        assert p.stem == 'index' or re.search(rf'(?m)(- |href: ){p.relative_to(NBS).as_posix()}$', text), p.name

# A toy chapter in a copy: a row and a notebook are all it takes

TOY = [new_markdown_cell('# A toy\n\n> By the end, you have doubled a number.'),
       new_code_cell('#| default_exp further.toy\n#| contains: A toy'),
       new_code_cell('#| exports\ndef twice(\n    x, # A number\n):\n    "Twice `x`"\n    return 2*x')]

EXPORT = '''
from nbdev.export import nb_export
from collab_nb.tools.docstrings import ModuleDocstring
nb_export("nbs/further/19_toy.ipynb", procs=[ModuleDocstring])
'''

def stub(path):
    "Leave a notebook its title"
    nb = nbformat.read(path, 4)
    title = next((c.source.splitlines()[0] for c in nb.cells if c.source.startswith('# ')), f'# {path.stem}')
    nbformat.write(new_notebook(cells=[new_markdown_cell(f'{title}\n\n> What this page would be about.')]), path)

@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    "The site of a copy of the course, stripped to its titles, with one more chapter, and with an owner"
    root = tmp_path_factory.mktemp('toy')
    for name in ('pyproject.toml', 'settings.ini', 'README.md', 'CITATION.cff'): shutil.copy(ROOT/name, root)
    shutil.copytree(NBS, root/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints', 'masters'))
    shutil.copytree(ROOT/'collab_nb', root/'collab_nb', ignore=shutil.ignore_patterns('__pycache__'))
    for p in (root/'nbs').rglob('*.ipynb'):
        if p.stem != 'index': stub(p)
    rows = [{**r, 'cover': None} for r in json.loads((NBS/'chapters.json').read_text())]
    rows.append(dict(number='19', module='further.toy', title='A toy', idea='twice', cover=None, picture='',
                     exercises=False, scoreboard=[], not_in_all=[]))
    nbformat.write(new_notebook(cells=TOY), root/'nbs'/'further'/'19_toy.ipynb')
    (root/'nbs'/'chapters.json').write_text(json.dumps(rows))
    settings = re.sub(r'(?m)^user = .*$', 'user = ada-l', (root/'settings.ini').read_text())
    (root/'settings.ini').write_text(settings)
    write_addresses(root)
    export = ('from nbdev.export import nb_export; from collab_nb.tools.docstrings import ModuleDocstring; '
              'nb_export("nbs/further/19_toy.ipynb", procs=[ModuleDocstring])')
    subprocess.run([sys.executable, '-c', export], cwd=root, check=True)
    write_chapters(root)
    build_site(root/'out', root)
    return root

def test_a_row_and_a_notebook_make_a_chapter(toy):
    assert '| [19 A toy](nbs/further/19_toy.ipynb) | twice |' in (toy/'README.md').read_text()
    assert (toy/'collab_nb'/'further'/'toy.py').read_text().startswith('"""A toy')
    page = parsed(toy/'out'/'further'/'toy.html')
    assert page.h1.text.strip() == 'A toy' and 'return' in page.find('main').text
    assert any(a.text.strip() == 'A toy' for a in page.find('nav', id='quarto-sidebar').find_all('a'))

def test_with_an_owner_links_to_the_repository_appear(toy):
    "They name files of the repository, where the numbers are"
    site = toy/'out'
    text = (site/'further'/'toy.html').read_text(encoding='utf-8') + (site/'data.html').read_text(encoding='utf-8')
    assert 'https://github.com/ada-l/collab_nb/blob/main/nbs/further/19_toy.ipynb' in text
    assert 'https://github.com/ada-l/collab_nb/blob/main/nbs/00_data.ipynb' in text

def test_for_agents(site):
    index = (site/'llms.txt').read_text(encoding='utf-8')
    for name in ('dot_product', 'api', 'further/sets'):
        assert f'{name}.llms.md' in index and (site/f'{name}.llms.md').exists()
