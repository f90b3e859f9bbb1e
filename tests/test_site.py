"The site as files: every notebook has its page, and what a page points at is there."
import re
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import unquote,urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

import collab_nb.all
import collab_nb.sampler
from collab_nb.site import COVERS, cover
from conftest import ROOT

NBS = ROOT/'nbs'
NOTEBOOKS = sorted(NBS.glob('*.ipynb'))
PUBLISHED = NOTEBOOKS + sorted(NBS.glob('exercises/*.ipynb'))     # the masters hold the answers

def page_name(path): return re.sub(r'(^|/)\d\d_', r'\1', path.relative_to(NBS).with_suffix('.html').as_posix())

@pytest.fixture(scope='module')
def pages(site): return {p.relative_to(site).as_posix(): BeautifulSoup(p.read_text(encoding='utf-8'), 'html.parser') for p in sorted(site.rglob('*.html'))}

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
                if not target.exists(): yield f'{name}: {el[attr]} is not there'
                elif url.fragment and key in pages and not pages[key].find(id=unquote(url.fragment)): yield f'{name}: {el[attr]} has no such place'

def test_no_broken_link_anchor_or_picture(site, pages): assert list(broken(site, pages)) == []

def test_a_broken_link_would_be_found(site):
    soup = BeautifulSoup('<a href="api.html#nowhere">a</a><img src="images/none.png"><a href="#top">b</a>', 'html.parser')
    found = list(broken(site, {'x.html': soup, 'api.html': BeautifulSoup('<p id="somewhere">', 'html.parser'), **{'index.html': soup}}))
    assert len([f for f in found if f.startswith('x.html')]) == 3

def test_each_picture_has_a_text(pages):
    for name,soup in pages.items():
        for img in soup.find_all('img'): assert len(img.get('alt', '')) > 10, f'{name}: {str(img)[:80]}'

def test_nothing_comes_from_the_network(site, pages):
    for name,soup in pages.items():
        for el in soup.find_all(['script', 'img', 'iframe', 'source']): assert not el.get('src', '').startswith(('http', '//')), f'{name}: {str(el)[:200]}'
        for el in soup.find_all('link', rel='stylesheet'): assert not el['href'].startswith(('http', '//')), f'{name}: {el}'
    for css in site.rglob('*.css'): assert not re.search(r'@import|url\(["\']?https?:', css.read_text(encoding='utf-8')), css

def test_formulas_are_mathml(pages):
    assert len(pages['weight_decay.html'].find_all('math')) > 5
    for name,soup in pages.items():
        for el in soup(['pre', 'code']): el.extract()
        assert not soup.find(class_='math') and not re.search(r'\\\(|\$\$', soup.get_text()), name

def test_lessons_show_their_code(site):
    "The exported class stands on the page of its chapter; its documentation, with a link to the source, on that of the library"
    chapter,library = ((site/f'{name}.html').read_text(encoding='utf-8') for name in ('dot_product', 'api'))
    assert 'A rating as the dot product' in chapter and 'Exported source' not in chapter and 'id="dotproduct"' not in chapter
    assert 'id="dotproduct"' in library and re.search(r'href="https://github\.com/[^"]+/collab_nb/dot_product\.py[^"]*"', library)

def test_links_to_the_source(site):
    "They name files of the repository, and lines where the thing is defined"
    places,paths = {},set()
    for p in site.rglob('*.html'):
        for path,line in re.findall(r'https://github\.com/[\w-]+/collab_nb/blob/main/([\w./-]+)(?:#L(\w+))?"', p.read_text(encoding='utf-8')):
            assert (ROOT/path).exists(), (p.name, path)
            paths.add(path)
            if line: places.setdefault(path, set()).add(int(line))
    assert {'collab_nb/data.py', 'collab_nb/bias.py', 'nbs/03_dot_product.ipynb', 'nbs/tour.ipynb'} <= paths
    for path,lines in places.items():
        text = (ROOT/path).read_text(encoding='utf-8').splitlines()
        for n in lines: assert re.match(r'\s*(def|class|@)', text[n-1]), (path, n, text[n-1])

def test_the_library_page_names_all():
    text = (ROOT/'nbs'/'api.ipynb').read_text(encoding='utf-8')
    shown = set(re.findall(r'show_doc\((\w+)\)', text))
    ours = {n for n in collab_nb.all.__all__ if getattr(getattr(collab_nb.all, n), '__module__', '').startswith('collab_nb')}
    assert ours - shown == set() and shown - ours == {'mse', 'valley', 'Embedding'} | set(collab_nb.sampler.__all__) & shown

@pytest.mark.parametrize('name', COVERS)
def test_covers_are_those_of_the_stored_outputs(name):
    assert (ROOT/'nbs'/'images'/'covers'/f'{name}.png').read_bytes() == cover(ROOT/'nbs'/f'{name}.ipynb', COVERS[name]), 'run make prepare'

def test_the_landing_page_leads_to_every_chapter():
    text = nbformat.read(ROOT/'nbs'/'index.ipynb', 4).cells[1].source
    for p in NOTEBOOKS:
        if p.name < '90' or p.stem == 'tour': assert f']({p.name})' in text and f'images/covers/{p.stem}.png' in text, p.name

def test_the_menus_name_every_notebook():
    text = (ROOT/'nbs'/'_quarto.yml').read_text(encoding='utf-8')
    for p in PUBLISHED: assert p.stem == 'index' or re.search(rf'(?m)(- |href: ){p.relative_to(NBS).as_posix()}$', text), p.name

def test_addresses_are_those_of_the_settings():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    text = (ROOT/'nbs'/'nbdev.yml').read_text(encoding='utf-8')
    for key in ('git_url', 'doc_url'): assert f'"{cfg["DEFAULT"][key]}"' in text, 'run make prepare'

def test_for_agents(site):
    index = (site/'llms.txt').read_text(encoding='utf-8')
    for name in ('dot_product', 'api'): assert f'{name}.llms.md' in index and (site/f'{name}.llms.md').exists()
