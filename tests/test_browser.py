"""The site and JupyterLab in a real browser. Without Chromium these skip, unless CI=true.

`make test` goes through an exercise in JupyterLab; `make test-full` opens every notebook."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import NBS, ROOT

NOTEBOOKS = sorted(p.relative_to(NBS).with_suffix('').as_posix() for p in NBS.rglob('*.ipynb')
                   if '.ipynb_checkpoints' not in p.parts)
def pictures(name):
    "Those that a notebook's outputs are, and those in its outputs' HTML"
    cells = json.loads((NBS/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    shown = [o.get('data', {}) for c in cells for o in c.get('outputs', [])]
    drawn = sum(bool({'image/png', 'image/svg+xml'} & set(d)) for d in shown)
    return drawn + sum(''.join(d.get('text/html', '')).count('<img ') for d in shown)

PICTURES = {p: pictures(p) for p in NOTEBOOKS}
OPENED = [n for n in NOTEBOOKS if n not in ('lib/scoreboard', 'index')]
PAGES = [re.sub(r'(^|/)\d\d_', r'\1', p) for p in NOTEBOOKS if not p.startswith('masters')]

# The site

@pytest.fixture
def page(browser, site_url, request):
    "A page of the site; what it asks of other hosts is refused and remembered"
    width,scheme = getattr(request, 'param', (1280, 'light'))
    context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=scheme)
    page = context.new_page()
    page.elsewhere = []
    def refuse(route):
        page.elsewhere.append(route.request.url)
        route.abort()
    page.route(lambda url: not url.startswith((site_url, 'data:')), refuse)
    page.failed = []
    page.on('pageerror', lambda e: page.failed.append(str(e)))
    page.on('response', lambda r: r.status >= 400 and page.failed.append(f'{r.status} {r.url}'))
    yield page
    context.close()

@pytest.mark.parametrize('name', PAGES)
@pytest.mark.parametrize('page', [(390, 'light')], indirect=True)
def test_pages_on_a_phone(page, site_url, name):
    "Nothing scrolls sideways, nothing fails, nothing comes from elsewhere, and all pictures are drawn"
    page.goto(f'{site_url}/{name}.html', wait_until='load')
    wide,screen = page.evaluate('[document.documentElement.scrollWidth, document.documentElement.clientWidth]')
    assert wide <= screen
    assert page.failed == [] and page.elsewhere == []
    assert page.evaluate('[...document.images].filter(i => i.loading != "lazy" && !i.naturalWidth).length') == 0

@pytest.mark.parametrize('page', [(1280, 'light'), (1280, 'dark')], indirect=True, ids=['light', 'dark'])
@pytest.mark.parametrize('name', ['index', 'dot_product', 'weight_decay', 'api'])
def test_axe_finds_nothing_serious(page, site_url, name):
    page.goto(f'{site_url}/{name}.html', wait_until='load')
    found = Axe().run(page, options={'resultTypes': ['violations']}).response['violations']
    serious = [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found
               if v['impact'] in ('serious', 'critical')]
    assert serious == []

@pytest.mark.parametrize('page', [(1280, 'light'), (1280, 'dark')], indirect=True, ids=['light', 'dark'])
def test_the_theme_follows_the_system(page, site_url, request):
    page.goto(f'{site_url}/index.html', wait_until='load')
    r,g,b = map(int, re.findall(r'\d+', page.evaluate('getComputedStyle(document.body).backgroundColor'))[:3])
    assert (r+g+b < 300) == ('dark' in request.node.name)

def test_search_finds_a_chapter(page, site_url):
    page.goto(f'{site_url}/index.html', wait_until='load')
    box = page.locator('input[type=search], #quarto-search input, .sd-search input').first
    box.fill('momentum')
    hit = page.locator('a[href*="weight_decay"]:visible', has_text=re.compile('decay', re.I)).first
    hit.wait_for(timeout=5000)

# JupyterLab

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A server on copies of the notebooks, whose pages keep all cells in the document"
    folder = tmp_path_factory.mktemp('lab')
    shutil.copytree(ROOT/'nbs', folder/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    settings = folder/'config'/'lab'/'user-settings'/'@jupyterlab'
    for name,values in (('notebook-extension/tracker', {'windowingMode': 'none'}),
                        ('apputils-extension/notification', {'fetchNews': 'false', 'checkForUpdates': False})):
        (settings/name).parent.mkdir(parents=True, exist_ok=True)
        (settings/f'{name}.jupyterlab-settings').write_text(json.dumps(values))
    env = {**os.environ, 'JUPYTER_CONFIG_DIR': str(folder/'config'),
           'JUPYTERLAB_SETTINGS_DIR': str(folder/'config'/'lab'/'user-settings'),
           'JUPYTER_RUNTIME_DIR': str(folder/'runtime'), 'MPLBACKEND': 'module://matplotlib_inline.backend_inline'}
    log = folder/'log'
    with log.open('w') as out:
        server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--port=0',
                                   '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True',
                                   f'--ServerApp.root_dir={folder}'], env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        for _ in range(120):
            if found := re.search(r'http://(?:localhost|127\.0\.0\.1):(\d+)/', log.read_text()): break
            time.sleep(.5)
        else: pytest.fail(f'JupyterLab did not start:\n{log.read_text()[-2000:]}')
        yield f'http://127.0.0.1:{found[1]}'
    finally:
        server.terminate()
        server.wait(20)

def all_idle(url):
    try: kernels = json.load(urllib.request.urlopen(f'{url}/api/kernels'))
    # the server stumbles while the kernel of the notebook before goes away
    except urllib.error.HTTPError: return False
    return bool(kernels) and all(k['execution_state'] == 'idle' for k in kernels)

def wait_idle(url):
    "Until a kernel is there and has nothing to do, a minute at most"
    for _ in range(200):
        time.sleep(.3)
        if all_idle(url): return

@contextmanager
def opened(browser, lab, name):
    "The page of a notebook whose kernel is there; the next notebook gets the machine for itself"
    context = browser.new_context(viewport={'width': 1100, 'height': 1400})
    page = context.new_page()
    try:
        page.goto(f'{lab}/lab/tree/nbs/{name}.ipynb?reset')
        page.wait_for_selector('.jp-NotebookPanel .jp-Cell', timeout=60_000)
        wait_idle(lab)
        yield page
    finally:
        context.close()
        for k in json.load(urllib.request.urlopen(f'{lab}/api/sessions')):
            urllib.request.urlopen(urllib.request.Request(f'{lab}/api/sessions/{k["id"]}', method='DELETE'))

@pytest.mark.full
@pytest.mark.parametrize('name', OPENED)
def test_run_all_in_jupyterlab(browser, lab, name):
    "Restart and Run All reaches the last cell, with no error, no warning, and all the pictures"
    with opened(browser, lab, name) as page:
        page.locator('.lm-MenuBar-itemLabel', has_text=re.compile('^Run$')).click()
        page.locator('.lm-Menu-itemLabel', has_text=re.compile('^Restart Kernel and Run All Cells')).click()
        page.locator('.jp-Dialog button.jp-mod-accept').click()
        unfolded = page.locator('.jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)')     # others have no number
        last = unfolded.last
        wrong = page.locator(','.join(f'.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.{kind}"]'
                                      for kind in ('error', 'stderr')))
        idle,end = 0,time.time()+400
        while time.time() < end and idle < 3:
            idle = idle+1 if wrong.count() or all_idle(lab) and re.search(r'\d', last.inner_text()) else 0
            time.sleep(1)
        assert wrong.all_inner_texts() == []
        prompts = unfolded.all_inner_texts()
        assert idle == 3 and all(re.search(r'\d', p) for p in prompts), prompts
        assert page.locator('.jp-OutputArea-output img').count() == PICTURES[name]

def test_an_exercise_answers_back(browser, lab):
    "As a learner does it: run the blank notebook, type a wrong answer, ask for a hint, type the right one"
    with opened(browser, lab, 'exercises/01_baselines') as page:
        cells = page.locator('.jp-CodeCell')
        texts = page.locator('.jp-CodeCell .cm-content').all_inner_texts()
        def place(start): return next(i for i,t in enumerate(texts) if t.startswith(start))
        starts = 'def damped_mean', "check('damped_mean'", "# hint('damped_mean'"
        blank,asked,helped = (cells.nth(place(start)) for start in starts)
        def run(cell, text=None, shows=None):
            cell.locator('.cm-content').click()
            if text:
                page.keyboard.press('ControlOrMeta+A')
                page.keyboard.insert_text(text)
            page.keyboard.press('Control+Enter')
            if shows: cell.locator('.jp-OutputArea', has_text=shows).wait_for(timeout=60_000)
            else: wait_idle(lab)
        for i in range(place('def damped_mean') + 1): run(cells.nth(i))
        run(asked, shows='Not attempted')
        head = 'def damped_mean(ratings, mean, damping): '
        run(blank, head + 'return (ratings.sum() + damping*mean) / len(ratings)')
        run(asked, shows='count below the line, too')
        run(helped, "hint('damped_mean')", shows='1 of 2')
        run(blank, head + 'return (ratings.sum() + damping*mean) / (len(ratings) + damping)')
        run(asked, shows='✔ Right')
