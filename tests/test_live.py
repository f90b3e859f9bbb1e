"""The pictures that move, in a real browser: with a mouse, a finger and the keyboard, in light and dark, and as they
are where no script runs. Without Chromium these skip, unless CI=true."""
import html
import re

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe

from collab_nb.live import (
    decay_curve,
    decay_explorer,
    factor_sheet,
    lookup_rows,
    movie_map,
    sheet_error,
    sheet_step,
    two_arrows,
)

PICTURES = {f.__name__: f for f in (two_arrows, factor_sheet, decay_explorer, lookup_rows, movie_map)}
every_picture = pytest.mark.parametrize('name', PICTURES)
COLORS = {'light': 'background: #fff; color: #212529', 'dark': 'background: #222; color: #fff'}
HEAD = '<!doctype html><html lang="en"><title>Pictures</title><meta name="viewport" content="width=device-width">'

@pytest.fixture
def show(browser):
    "A function that opens a page with pictures on it; nothing may fail on it, and nothing may come from the network"
    contexts,wrong = [],[]
    def opened(*pictures, scheme='light', width=1280, body=None, **kwargs):
        context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=scheme, **kwargs)
        contexts.append(context)
        page = context.new_page()
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
        page.on('request', lambda r: wrong.append(r.url))
        body = body or '<hr>'.join(p.data for p in pictures)
        page.set_content(f'{HEAD}<body style="font-family: sans-serif; {COLORS[scheme]}"><main>{body}</main>')
        return page
    yield opened
    for context in contexts: context.close()
    assert wrong == []

def part(page, name, nth=0): return page.locator(f'[data-part="{name}"]').nth(nth)
def text(page, name, nth=0): return part(page, name, nth).inner_text()
def state(page, nth=0): return page.evaluate('n => document.querySelectorAll("[data-live]")[n].live', nth)

def center(locator):
    box = locator.bounding_box()
    return box['x'] + box['width']/2, box['y'] + box['height']/2

# All of them

@every_picture
def test_one_small_piece_without_ids(name):
    page = PICTURES[name]().data
    assert len(page.encode()) < 60_000
    assert page == PICTURES[name]().data
    assert not re.search(r'\sid="|https?://|@import|url\(|localStorage|<canvas|<iframe', page)
    assert max(map(len, re.search(r'(?s)<script>.*</script>', page)[0].splitlines())) <= 120

@every_picture
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_axe_finds_nothing(show, name, scheme):
    page = show(PICTURES[name](), scheme=scheme)
    found = Axe().run(page, options={'resultTypes': ['violations']}).response['violations']
    serious = [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found
               if v['impact'] in ('serious', 'critical')]
    assert serious == []

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_they_fit_a_phone_and_share_a_page(show, scheme):
    page = show(*(make() for make in PICTURES.values()), scheme=scheme, width=390)
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert page.locator('[data-started]').count() == len(PICTURES)
    assert not page.locator('.cnb-still').count()

SHOWN = '''[...document.querySelectorAll('[data-part]')].filter(e => e.dataset.part != 'say')
  .map(e => [e.dataset.part, (e.querySelector('input')?.value ?? e.textContent).replace(/-/g, '−')])'''

@every_picture
def test_the_still_picture_says_what_the_script_says(show, name):
    "Same numbers and words, so that nothing jumps when the script starts; only the curve of errors is drawn ahead"
    still,live = (show(PICTURES[name](), java_script_enabled=script) for script in (False, True))
    before = dict(still.evaluate(SHOWN))
    after = dict(live.evaluate(SHOWN))
    assert len(before) >= 6 and any(re.search(r'\d\.\d\d', t) for t in before.values())
    ids = {'onehot'}     # its cells became inputs
    assert {k: v for k,v in before.items() if k not in ids} == {k: after[k] for k in before if k not in ids}

@every_picture
def test_without_scripts(show, name):
    page = show(PICTURES[name](), java_script_enabled=False)
    assert page.locator('.cnb-still').is_visible()
    assert not page.locator('button, input').count()     # not even hidden ones: a sanitizer would show them
    assert len(re.findall(r'<td[^>]*>\s*[−\d]', PICTURES[name]().data)) > 5     # where drawings are taken out, too

@every_picture
def test_in_a_frame_without_rights(show, name):
    "As Colab shows an output: scripts may run, and that's all"
    inner = html.escape(PICTURES[name]().data)
    page = show(body=f'<iframe sandbox="allow-scripts" srcdoc="{inner}" width=900 height=800></iframe>')
    inside = page.frame_locator('iframe')
    inside.locator('[data-started]').wait_for()
    before = inside.locator('[data-live]').inner_text()
    if name == 'two_arrows': inside.locator('[data-part="user-tip"]').press('ArrowDown')
    elif name == 'movie_map': inside.locator('[data-part="genre"]').select_option('Romance')
    elif name == 'decay_explorer': inside.locator('[data-part="wd"]').press('ArrowRight')
    else: inside.locator('[data-part="one"], [data-add="0"]').click()
    assert inside.locator('[data-live]').inner_text() != before

# Two arrows

def test_dragging_a_tip(show):
    page = show(two_arrows(), two_arrows(movie=(-.99, -.3), labels=('the fan', 'Casablanca')))
    tip,plane = part(page, 'movie-tip'),page.locator('.cnb-plane').first.bounding_box()
    page.mouse.move(*center(tip))
    page.mouse.down()
    page.mouse.move(plane['x'] + plane['width']/2, plane['y'] + plane['height']/2, steps=4)
    page.mouse.move(plane['x'] - 50, plane['y'] + plane['height']/2, steps=4)     # beyond the edge
    page.mouse.up()
    assert (text(page, 'movie-0'), text(page, 'movie-1'), text(page, 'dot')) == ('−1.00', '0.00', '−0.90')
    assert 'disagree' in text(page, 'verdict')
    assert text(page, 'movie-0', 1) == '−0.99'     # the other picture stays as it was
    part(page, 'reset').click()
    assert text(page, 'dot') == '1.60'

def touch(page, points):
    "Drag a finger along the points"
    session = page.context.new_cdp_session(page)
    for i,(x,y) in enumerate(points):
        session.send('Input.dispatchTouchEvent', {'type': 'touchMove' if i else 'touchStart',
                                                  'touchPoints': [{'x': x, 'y': y}]})
    session.send('Input.dispatchTouchEvent', {'type': 'touchEnd', 'touchPoints': []})

def test_dragging_with_a_finger(show):
    page = show(two_arrows(), width=390, has_touch=True)
    x,y = center(part(page, 'user-tip'))
    touch(page, [(x, y), (x, y+20), (x, y+60)])
    page.wait_for_function('document.querySelector("[data-part=user-1]").textContent < "0.50"')
    assert text(page, 'user-0') in ('0.89', '0.90', '0.91')

def test_arrow_keys(show):
    page = show(two_arrows(user=(1, 0), movie=(0, .95)))
    assert 'right angle' in text(page, 'verdict')
    for _ in range(3):
        page.keyboard.press('Tab')
        if page.evaluate('document.activeElement.dataset.part') == 'user-tip': break
    assert part(page, 'user-tip').get_attribute('role') == 'slider'
    for key in ('ArrowUp', 'ArrowUp', 'Shift+ArrowUp', 'ArrowLeft', 'ArrowRight', 'ArrowRight'):
        page.keyboard.press(key)
    assert (text(page, 'user-0'), text(page, 'user-1')) == ('1.00', '0.30')
    assert part(page, 'user-tip').get_attribute('aria-valuetext') == 'science fiction 1.00, action 0.30'
    page.wait_for_function('document.querySelector("[aria-live]").textContent.includes("Dot product 0.28")')
    for _ in range(6): page.keyboard.press('ArrowDown')
    assert part(page, 'user-1').inner_text() == '0.00'

def test_an_arrow_without_length(show):
    page = show(two_arrows(user=(0, .05)))
    part(page, 'user-tip').press('ArrowDown')
    assert 'not defined' in text(page, 'cosine') and "isn't defined" in text(page, 'verdict')

# The sheet of factors

def tables(page):
    live = state(page)
    return np.array(live['users']), np.array(live['movies'])

def sheet(page):
    "The ratings, as the page has them"
    config = page.evaluate('JSON.parse(document.querySelector("[data-live]").dataset.config)')
    return np.array(config['ratings'], dtype=float)

def test_a_step_is_that_of_python(show):
    page = show(factor_sheet(lr=.3), reduced_motion='reduce')
    ratings,now = sheet(page),tables(page)
    for button,steps in (('one', 1), ('many', 20)):
        part(page, button).click()
        for _ in range(steps): now = sheet_step(ratings, *now, lr=.3)
        for mine,theirs in zip(tables(page), now, strict=True): np.testing.assert_allclose(mine, theirs, rtol=1e-10)
    assert text(page, 'error') == f'{sheet_error(ratings, *now):.2f}' and text(page, 'steps') == 'after 21 steps'
    part(page, 'reset').click()
    assert text(page, 'error') == '4.71' and text(page, 'steps') == 'after 0 steps'

def test_twenty_steps_can_be_watched(show):
    page = show(factor_sheet())
    part(page, 'many').click()
    page.wait_for_function('document.querySelector("[data-part=steps]").textContent == "after 20 steps"')
    assert float(text(page, 'error')) < 1.2

def test_typing_a_factor(show):
    page = show(factor_sheet())
    box = page.get_by_label('Ann, factor 1')
    box.fill('2.5')
    users,movies = tables(page)
    assert users[0,0] == 2.5
    assert text(page, 'cell-0-0') == f'{users[0]@movies[0]:.2f}rated 5'.replace('rated', '\nrated')
    assert text(page, 'error') == f'{sheet_error(sheet(page), users, movies):.2f}'
    box.fill('')
    assert box.get_attribute('aria-invalid') == 'true' and tables(page)[0][0,0] == 2.5
    page.get_by_label('Bob, factor 1').focus()
    assert box.input_value() == '2.50'

def test_a_learning_rate_that_is_too_large(show):
    page = show(factor_sheet(lr=2), reduced_motion='reduce')
    for _ in range(3):
        if part(page, 'many').is_enabled(): part(page, 'many').click()
    assert 'too large' in text(page, 'advice') and part(page, 'one').is_disabled()
    part(page, 'reset').click()
    rate = part(page, 'lr')
    rate.press('Home')
    assert text(page, 'rate') == '0.01' and rate.get_attribute('aria-valuetext') == '0.01'
    part(page, 'one').click()
    assert float(text(page, 'error')) < 4.71

# Weight decay

@pytest.mark.parametrize('n_factors', [1, 12])
def test_the_page_fits_as_python_does(show, n_factors):
    page = show(decay_explorer())
    factors = part(page, 'factors')
    factors.press('Home' if n_factors == 1 else 'End')
    assert text(page, 'factors-value') == str(n_factors)
    curve = [[p['training'], p['validation']] for p in state(page)['curves'][str(n_factors)]]
    np.testing.assert_allclose(curve, decay_curve(n_factors), rtol=1e-5)

def test_sliders_of_weight_decay(show):
    page = show(decay_explorer(12, .1), width=390)
    assert 'memorizes' in text(page, 'verdict')
    low = float(text(page, 'now-training'))
    part(page, 'wd').press('End')
    assert 'Too much' in text(page, 'verdict') and float(text(page, 'now-training')) > 10*low
    chart = page.locator('.cnb-fit').bounding_box()
    page.mouse.click(chart['x'] + .6*chart['width'], chart['y'] + .5*chart['height'])
    assert 1 < float(text(page, 'now-wd')) < 10
    page.wait_for_function('![...document.querySelectorAll("[data-best]")].some(c => c.textContent == "…")')
    best = [float(c) for c in page.locator('[data-best]').all_inner_texts()]
    assert best[2] < best[11]     # more factors need more decay

# Rows

def gradient_of(ids):
    "What index_add_ would do"
    res = np.zeros((6, 3))
    np.add.at(res, ids, 10.**np.arange(len(ids))[:,None]*np.arange(1, 4))
    return res.tolist()

def test_a_batch_that_you_edit(show):
    page = show(lookup_rows())
    assert state(page)['gradient'] == gradient_of([1, 5, 1])
    page.get_by_role('button', name='2 Fargo', exact=True).click()
    page.get_by_label('Id 2 of the batch').fill('1')
    assert state(page)['ids'] == [1, 1, 1, 2] and state(page)['gradient'] == gradient_of([1, 1, 1, 2])
    assert 'Casablanca comes 3 times' in text(page, 'verdict')
    assert page.evaluate('document.activeElement.ariaLabel') == 'Id 2 of the batch'     # typing goes on
    page.get_by_label('Id 2 of the batch').fill('6')
    assert page.get_by_label('Id 2 of the batch').get_attribute('aria-invalid') == 'true'
    page.get_by_label('Remove id 1, Casablanca').press('Enter')
    assert state(page)['ids'] == [1, 1, 2]
    shown = [row.split() for row in part(page, 'gradient').inner_text().splitlines()]
    assert shown[1] == ['Casablanca', '11', '22', '33'] and shown[2] == ['Fargo', '100', '200', '300']

def test_a_batch_has_limits(show):
    page = show(lookup_rows([0]))
    assert page.get_by_label('Remove id 1, Star Wars').is_disabled()
    add = page.get_by_role('button', name='4 Alien', exact=True)
    for _ in range(4): add.click()
    assert add.is_disabled() and len(state(page)['ids']) == 5
    part(page, 'reset').click()
    assert state(page)['ids'] == [0]

# The map of movies

def labels(page): return page.locator('.cnb-label').all_text_contents()

def many(n=80):
    rng = np.random.default_rng(1)
    kinds = np.array(['Action', 'Drama|Romance', 'Comedy', ''])
    return pd.DataFrame(rng.normal(size=(n, 2)), columns=['x', 'y']).assign(
        title=[f'Movie number {i}' for i in range(n)], genres=kinds[rng.integers(0, 4, n)])

@pytest.mark.parametrize('you', [None, (.3, -.2)])
def test_names_stay_where_python_put_them(show, you):
    still,live = (show(movie_map(many(), you=you), java_script_enabled=script) for script in (False, True))
    def where(page):
        return page.evaluate("""[...document.querySelectorAll('.cnb-label')].map(t =>
          [t.textContent, +t.getAttribute('x'), +t.getAttribute('y'), t.getAttribute('text-anchor')])""")
    (names,*places),(others,*wheres) = (list(zip(*where(page), strict=True)) for page in (still, live))
    assert names == others and 10 < len(names) < 80
    np.testing.assert_allclose(places[:2], wheres[:2], atol=.11)     # rounding
    assert places[2] == wheres[2]

def test_hovering_tells_which_movie(show):
    page = show(movie_map(you=(.9, .8)))
    assert text(page, 'title') == 'Star Wars'
    page.mouse.move(*center(page.locator('.cnb-map circle').nth(4)))
    assert text(page, 'title') == 'Casablanca' and part(page, 'movie').input_value() == '4'
    assert text(page, 'facts') == 'Drama, Romance · axis 1: −0.99 · axis 2: −0.30 · along the arrow: −1.13'
    assert page.locator('.cnb-chosen').text_content() == 'Casablanca'
    page.wait_for_function('document.querySelector("[aria-live]").textContent.startsWith("Casablanca. Drama")')

def test_a_genre(show):
    page = show(movie_map(many(), you=(1, 0)))
    before = labels(page)
    part(page, 'genre').select_option('Romance')
    romance = many().query('genres == "Drama|Romance"')
    assert text(page, 'shown') == f'{len(romance)} of the 80 movies: Romance'
    assert set(state(page)['shown']) == set(romance.index) and page.locator('.cnb-spot').count() == len(romance)
    assert set(labels(page)) <= set(romance.title) and len(set(labels(page)) - set(before)) > 2     # there's more room
    assert text(page, 'title') == romance.title.iloc[0]
    assert text(page, 'end-0') == romance.title[romance.x.idxmax()] == text(page, 'end-4')
    assert text(page, 'end-3-1') == f'{romance.y.min():.2f}'.replace('-', '−')
    part(page, 'reset').click()
    assert labels(page) == before and text(page, 'shown') == 'All 80 movies'

def test_a_map_by_keyboard(show):
    page = show(movie_map())
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.dataset.part') == 'genre'
    page.keyboard.press('S')     # Sci-Fi
    page.keyboard.press('Tab')
    page.keyboard.press('Home')
    assert text(page, 'title') == '2001'
    page.keyboard.press('ArrowDown')
    assert text(page, 'title') == 'Alien'

def test_a_map_on_a_phone(show):
    page = show(movie_map(many()), width=390, has_touch=True)
    box = page.locator('.cnb-map').bounding_box()
    assert box['width'] <= 390 and len(labels(page)) < 60
    size = page.evaluate('document.querySelector(".cnb-map").viewBox.baseVal.width')
    assert abs(size - box['width']) < 3     # letters keep their size
    spot = page.locator('.cnb-map circle').nth(7)
    page.touchscreen.tap(*center(spot))
    assert text(page, 'title') == 'Movie number 7'
