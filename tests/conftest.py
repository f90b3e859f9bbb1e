"What several tests share: the repository's root, MovieLens, a reader's home of their own; a browser and the site."
import os
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import torch

ROOT = Path(__file__).parents[1]
NBS = ROOT/'nbs'

# Which tests need what is seen from their fixtures; tests that share a costly one run in the same process
MARKS = {'movielens': {'path', 'ratings'}, 'browser': {'browser', 'site', 'toy', 'lab'}, 'network': {'built'}}
GROUPS = {'site': {'site'}, 'toy': {'toy'}, 'lab': {'lab'}, 'wheel': {'built'}, 'run': {'ran'}, 'fresh': {'fresh'}}

@pytest.hookimpl(tryfirst=True)     # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    "Mark tests by their fixtures, keep those of a group together, and start the slowest first"
    for item in items:
        for name,fixtures in MARKS.items():
            if fixtures & set(item.fixturenames): item.add_marker(name)
        for name,fixtures in GROUPS.items():
            if fixtures & set(item.fixturenames): item.add_marker(pytest.mark.xdist_group(name))
    def slowness(item):
        groups = [m.args[0] for m in item.iter_markers('xdist_group')]
        return not groups, item.get_closest_marker('kernel') is None
    items.sort(key=slowness)     # stable: within these the order stays

@pytest.fixture(scope='session', autouse=True)
def own_home(tmp_path_factory):
    "No test reads or writes the ratings of whoever runs it"
    with pytest.MonkeyPatch.context() as mp:
        mp.setenv('COLLAB_NB_HOME', str(tmp_path_factory.mktemp('home')))
        yield

@pytest.fixture(scope='session', autouse=True)
def one_thread():
    "Small batches gain nothing from a second core"
    torch.set_num_threads(1)

@pytest.fixture(scope='session')
def path():
    from collab_nb.sources import copy_for_fastai,get_ml100k
    found = get_ml100k()
    copy_for_fastai(found)     # the tour asks fastai
    return found

@pytest.fixture(scope='session')
def ratings(path):
    from collab_nb.data import read_ratings
    return read_ratings(path)

# Tables that aren't pandas'

def polars_frame(df): return pytest.importorskip('polars').from_dict(df.to_dict('list'))
def lazy_frame(df): return polars_frame(df).lazy()
def arrow_table(df): return pytest.importorskip('pyarrow').table(df.to_dict('list'))
def wrapped_frame(df): return pytest.importorskip('narwhals').from_native(df)

@pytest.fixture(params=[polars_frame, lazy_frame, arrow_table, wrapped_frame])
def as_other(request):
    "A function that makes a table of another kind from a pandas DataFrame; skipped where that library isn't installed"
    return request.param

# The site and a browser to look at it

@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The folder of the site, built once"
    from collab_nb.tools.site import build_site
    return build_site(tmp_path_factory.mktemp('site')/'docs', ROOT).parent

@pytest.fixture(scope='session')
def site_url(site):
    "The address of a server on this machine that shows the site"
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome',
            '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome')

@pytest.fixture(scope='session')
def browser():
    "Chromium, driven by Playwright; without one the test is skipped, on CI it fails"
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        message = 'no Chromium on this machine (on Debian and Ubuntu: apt install chromium)'
        if os.environ.get('CI'): pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        args = ['--no-sandbox', '--disable-quic', '--disable-background-networking']
        chromium = p.chromium.launch(executable_path=found, args=args)
        yield chromium
        chromium.close()

@pytest.fixture(scope='module')
def counted():
    "Counts from 1 to 4, some rows short and some long"
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, 40)
    table = pd.DataFrame({'user': np.repeat(np.arange(40), lengths),
                          'movie': np.concatenate([rng.choice(30, n, replace=False) for n in lengths])})
    return table.assign(count=rng.integers(1, 5, len(table)))
