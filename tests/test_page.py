"""The page to rate movies on: its lists against Python's, all that somebody can do on it, and what strangers put into
titles, files and storage. Without Chromium most of this skips, unless CI=true."""
import ast
import base64
import csv
import hashlib
import io
import json
import re
import urllib.request
from itertools import product

import numpy as np
import pandas as pd
import pytest
import test_browser
from axe_playwright_python.sync_playwright import Axe
from fastai.collab import set_seed
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from collab_nb.cli import main
from collab_nb.data import rating_dls, synth_ratings
from collab_nb.further.sets import RatedWhat, SetRecommender, map_learner
from collab_nb.page import page_html
from collab_nb.ranking import ease, ials
from collab_nb.serving import Recommender
from collab_nb.sources import my_ratings

lab = test_browser.lab
SLACK = 4     # the limits are for an idle laptop; a machine that runs other tests beside is up to four times slower
N = 400
NAMED = {3: 'Star Wars (1977)', 5: 'Matrix, The (1999)', 8: 'Fargo (1996)', 9: 'Amélie (2001)', 12: 'Alien 3 (1992)'}
GENRES = ['Comedy', 'Drama|War', 'Horror', 'Comedy|Romance', '']

def catalog(n=N):
    words = product('Quiet Paper Silver Hollow Blue Secret Last Northern'.split(),
                    'Harbor Winter Engine Letter Garden Mirror Orchard Signal'.split(), range(1, 400))
    titles = [f'{a} {b} {k} ({1930+k%90})' for (a, b, k),_ in zip(words, range(n))]
    return pd.DataFrame({'movie': range(1, n+1), 'title': [NAMED.get(i, t) for i,t in enumerate(titles, 1)],
                         'genres': [GENRES[i % 5] for i in range(n)]})

@pytest.fixture(scope='module')
def table():
    res = synth_ratings(200, N, 16_000, n_factors=4, seed=1)
    return res.assign(title=res.movie.map(catalog().set_index('movie').title))

# Models of each kind, small

def made_up(table, d=8, y_range=(.5, 5.5)):
    "A model of ratings with factors out of the blue: lists and reasons are as hard to get right as those of a real one"
    rng,items = np.random.default_rng(2),sorted(table.movie.unique())
    users = sorted(table.user.unique())
    def draw(*shape): return rng.normal(0, .4, shape)
    shift = 0 if y_range else 3.5
    return Recommender.from_factors(
        draw(len(users), d), draw(len(items), d), users, items, seen=table, rating='rating', y_range=y_range,
        user_bias=draw(len(users))+shift, item_bias=draw(len(items)), titles=catalog().set_index('movie').title)

def of_sets(table):
    set_seed(0, reproducible=True)
    dls = rating_dls(table, splits=(np.arange(len(table)), []), bs=2048, device='cpu')
    learn = map_learner(dls, RatedWhat.from_dls(dls, n_factors=6))
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2, 3e-2)
    return SetRecommender.from_learner(learn)

def updated(table):
    "With an item that came after training"
    rec = ials(table[table.movie > 1], n_factors=8, n_iter=3)
    return rec.update(table[table.movie == 1])

MAKE = {'stars': lambda t: made_up(t), 'without a range': lambda t: made_up(t, y_range=None),
        'implicit': lambda t: ials(t, n_factors=8, n_iter=3), 'updated': updated, 'sets': of_sets,
        'weights': lambda t: ials(t, n_factors=8, n_iter=3, weight='rating'), 'items': lambda t: ease(t, reg=50)}
every_kind = pytest.mark.parametrize('kind', MAKE)

@pytest.fixture(scope='module')
def models(table):
    "A function that makes a model of a kind, once"
    made = {}
    def model(kind):
        if kind not in made: made[kind] = MAKE[kind](table)
        return made[kind]
    return model

@pytest.fixture(scope='module')
def both(models, tmp_path_factory):
    "The page that most tests use: a model for lists, and one for stars"
    return models('implicit').to_html(tmp_path_factory.mktemp('page')/'rate.html', catalog(), models('stars'))

@pytest.fixture(scope='module')
def only_stars(models, tmp_path_factory):
    return models('stars').to_html(tmp_path_factory.mktemp('page')/'stars.html', catalog())

# A page in a browser

@pytest.fixture
def visit(browser):
    "A function that opens a page; nothing may fail on it, and it may ask for nothing but itself"
    contexts,wrong = [],[]
    def opened(file, context=None, width=1280, scheme='light', script=None, **kwargs):
        if context is None:
            context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=scheme, **kwargs)
            contexts.append(context)
        if script: context.add_init_script(script)
        page,address = context.new_page(),file.as_uri()
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
        page.on('request', lambda r: r.url != address and not r.url.startswith('blob:') and wrong.append(r.url))
        page.goto(address)
        return page
    yield opened
    for context in contexts: context.close()
    assert wrong == []

def part(page, name): return page.locator(f'[data-part="{name}"]')
def act(page, name): return page.locator(f'[data-act="{name}"]:visible').first
def listed(page): return page.evaluate('rater.list()')
def names(page, where='list'): return part(page, where).locator('> li strong').all_text_contents()
def reload(page):
    """Load the page again, with what it kept. On a busy machine, Chromium's storage for private windows gets a write
    late, or even loses it; then it's written again, since the browser isn't what's tested"""
    kept = page.evaluate('Object.entries(localStorage)')
    for _ in range(30):
        page.wait_for_timeout(300)
        page.reload()
        if sorted(page.evaluate('Object.entries(localStorage)')) == sorted(kept): return
        page.evaluate('kept => kept.forEach(([key, text]) => localStorage.setItem(key, text))', kept)
    raise AssertionError(f'the browser keeps nothing of {kept!r}')

def rated(page, person=0): return dict(page.evaluate(f'[...rater.state.ratings[{person}]]'))
def rate(page, ratings, person=0):
    page.evaluate('([all, p]) => all.forEach(([i, v]) => rater.rate(i, v, p))', [list(ratings.items()), person])

def give(page, words, value):
    "Search a movie, and click on a star"
    part(page, 'query').fill(words)
    star = part(page, 'found').locator('> li').first.locator(f'input[value="{value}"]')
    star.click()
    expect(star).to_be_checked()
    part(page, 'query').fill('')

def unfold(page): page.evaluate('document.querySelectorAll("details").forEach(d => { d.open = true; })')

def upload(page, content, file):
    "Import a file, and wait for what the page says about it"
    unfold(page)
    part(page, 'report').evaluate('node => node.replaceChildren()')
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    part(page, 'file').set_input_files(file)
    expect(part(page, 'report')).not_to_be_empty(timeout=20_000)
    return part(page, 'report').inner_text()

def saved(page, button, folder):
    "What a button saves"
    unfold(page)
    with page.expect_download() as d: act(page, button).click()
    file = folder/d.value.suggested_filename
    d.value.save_as(file)
    return file

def works(page):
    "Somebody can still rate, and gets a list"
    before = rated(page)
    free = next(i for i in listed(page) if i not in before)
    part(page, 'list').locator(f'> li[data-position="{free}"] input').last.click()
    assert len(rated(page)) == len(before)+1
    assert len(names(page)) == len(listed(page)) == 10 and free not in listed(page)
    assert page.evaluate('window.ran') is None

# Agreement with Python

def someone(rec, rng, most):
    "[[position, value], ...] of a person with 1 to `most` ratings"
    n = min(int(rng.choice([1, 2, 5, 15, 40, 100, 300], p=[.1, .1, .2, .3, .2, .07, .03])), most)
    places = rng.choice(len(rec.items), n, replace=False)
    values = rng.uniform(.5, 4, n).round(2) if rec.weighted else rng.integers(1, 6, n)
    return [[int(p), float(v) if rec.weighted or rec._needs_ratings else 1.] for p,v in zip(places, values)]

ANSWERS = '''people => people.map(pairs => {
  const who = model.fold(pairs), z = model.rank(who), own = new Set(pairs.map(pair => pair[0]));
  const best = topK(z.map((v, p) => own.has(p) ? -Infinity : v), 10);
  return {z: [...z], best, shown: best.map(p => model.show(who, z[p])),
    popular: topK(towardPopular(z, counts, .5).map((v, p) => own.has(p) ? -Infinity : v), 10),
    reasons: [best[0], best[9], pairs[0][0]].map(p => [p, model.explain(who, p)])};
})'''

@pytest.fixture
def ask(browser):
    "A function that gives fold.js a model and people, and gives what it says about them"
    context = browser.new_context()
    def answers(rec, people, what=ANSWERS):
        data = json.loads(re.search(r'id="data">(.*?)</script>', page_html(rec))[1])
        fold = page_html(rec).split('<script type="module">')[1].split('// The page to rate movies on')[0]
        page = context.new_page()
        page.set_content(f'<script>{fold}</script>')
        page.evaluate('data => { window.model = openModel(data.models[0]); window.counts = data.items.counts; }', data)
        return page.evaluate(what, people)
    yield answers
    context.close()

def unit(rec):
    "What the page takes for 1: the mean weight, if the model has weights"
    return float(rec.known.packed().values.mean()) if rec.weighted else 1.

def check_agreement(rec, people, answers):
    same = 0
    for pairs,got in zip(people, answers, strict=True):
        guest = rec.fold_in({rec.items[p]: v*unit(rec) for p,v in pairs})
        z,seen = rec.rank_scores(guest)[0].astype(float),[p for p,_ in pairs]
        np.testing.assert_allclose(got['z'], z, atol=1e-4)
        best = got['best']
        np.testing.assert_allclose(z[best], np.sort(np.delete(z, seen))[::-1][:10], atol=1e-5)     # but for ties
        np.testing.assert_allclose(got['shown'], rec.scores(guest)[0][best], atol=1e-4)
        if rec._needs_ratings:
            np.testing.assert_allclose(got['shown'], rec.predict(guest, [rec.items[p] for p in best]), atol=1e-4)
        toward = rec.recommend(guest, popularity=.5)['item'].tolist()
        same += [rec.items[p] for p in best] == rec.recommend(guest)['item'].tolist()
        same += [rec.items[p] for p in got['popular']] == toward
        for p,reasons in got['reasons']:
            speaks = rec.explain(guest, rec.items[p], k=len(pairs)).set_index('item').speaks
            assert {rec.items[q] for q,_ in reasons} == set(speaks.index)
            np.testing.assert_allclose([s for _,s in reasons], speaks[[rec.items[q] for q,_ in reasons]], atol=1e-4)
            sizes = np.abs([s for _,s in reasons])
            assert (np.diff(sizes) <= 0).all()     # strongest first
    assert same >= .98*2*len(people)

@every_kind
@pytest.mark.parametrize('n', [40, pytest.param(500, marks=pytest.mark.full)])
def test_folds_lists_and_explains_as_python(ask, models, kind, n):
    rec,rng = models(kind),np.random.default_rng(3)
    people = [someone(rec, rng, 300) for _ in range(n)]
    check_agreement(rec, people, ask(rec, people))

@pytest.mark.full
def test_real_people(ask, ratings):
    "MovieLens: what 200 people liked, and what 200 gave"
    liked = ratings[ratings.rating >= 4]
    for rec,rows in ((ials(ratings, n_iter=4), liked), (ease(ratings), liked), (made_up(ratings), ratings)):
        place,people = {m: p for p,m in enumerate(rec.items)},[]
        for _,own in list(rows.groupby('user'))[:200]:
            values = own.rating if rec._needs_ratings else np.ones(len(own))
            people.append([[place[m], float(v)] for m,v in zip(own.movie, values)][:300])
        check_agreement(rec, people, ask(rec, people))

def standard(z): return (z-z.mean())/z.std()

@pytest.mark.parametrize('kind', ['stars', 'implicit', 'items'])
def test_blends_as_numpy(ask, models, kind):
    rec,rng = models(kind),np.random.default_rng(4)
    people = [someone(rec, rng, 40) for _ in range(12)]
    got = ask(rec, people, '''people => { const z = people.map(pairs => model.rank(model.fold(pairs)));
      return z.map((own, n) => [[...own], [...towardPopular(own, counts, .3)],
                                [...together(own, z[(n+1)%z.length])]]); }''')
    for n,(z,popular,two) in enumerate(got):
        crowd,other = np.log1p(rec.counts),got[(n+1) % len(got)][0]
        np.testing.assert_allclose(popular, .7*standard(np.array(z)) + .3*standard(crowd), atol=1e-8)
        np.testing.assert_allclose(two, np.minimum(standard(np.array(z)), standard(np.array(other))), atol=1e-8)

@every_kind
def test_the_page_lists_what_python_lists(visit, models, tmp_path, kind):
    rec,rng = models(kind),np.random.default_rng(5)
    scale = {} if rec._needs_ratings else {'scale': (1, 5), 'mean': 3.}
    page = visit(rec.to_html(tmp_path/'rate.html', catalog(), **scale))
    for _ in range(3):
        mine = {int(p): int(v) for p,v in zip(rng.choice(N, 12, replace=False), [5, 4, 3, 1]*3)}
        rate(page, mine)
        every = rated(page)
        liked = {p: v if rec._needs_ratings else unit(rec) for p,v in every.items()
                 if rec._needs_ratings or v >= page.evaluate('rater.data.mean')}
        guest = rec.fold_in({rec.items[p]: v for p,v in liked.items()})
        wanted = rec.recommend(guest, without=[rec.items[p] for p in every])
        assert [rec.items[i] for i in listed(page)] == wanted['item'].tolist()
        assert len(names(page)) == 10

# Life of a page

def test_a_rating_changes_the_list_and_is_the_reason(visit, only_stars):
    page = visit(only_stars)
    before = names(page)
    give(page, 'wars STAR', 5)
    assert names(page) != before and 'Star Wars' not in names(page)
    give(page, 'the matrix', 1)
    give(page, 'amelie', 4)
    whys = part(page, 'list').locator('.reason').all_inner_texts()
    assert len(whys) == 10 and all(re.search(r'gave (Star Wars 5|The Matrix 1|Amélie 4)', w) for w in whys), whys
    guesses = part(page, 'list').locator('.guess').all_inner_texts()
    assert [float(re.search(r'\d\.\d', g)[0]) for g in guesses] == sorted(
        (float(re.search(r'\d\.\d', g)[0]) for g in guesses), reverse=True)
    part(page, 'list').locator('input').first.click()     # the first movie leaves the list
    expect(part(page, 'say')).to_have_text(f'First on your list now: {names(page)[0]}.')

def test_the_reasons_of_a_list_model(visit, both):
    page = visit(both)
    assert names(page) == names(page) and 'that most people rated' in part(page, 'basis').inner_text()
    crowd = listed(page)
    give(page, 'fargo', 1)     # nothing is liked yet
    assert 'No rating is above average' in part(page, 'basis').inner_text()
    assert [i for i in listed(page) if i in crowd] == [i for i in crowd if i in listed(page)]
    give(page, 'star wars', 5)
    whys = [w for w in part(page, 'list').locator('.reason').all_inner_texts() if w]
    assert len(whys) >= 9 and all('liked Star Wars' in w for w in whys)

def test_undo(visit, both):
    page = visit(both)
    before = names(page)
    rate(page, {i: 1 + i%5 for i in range(60)})
    page.keyboard.press('Control+z')
    act(page, 'undo').click()
    assert len(rated(page)) == 58
    page.evaluate('for (let n = 0; n < 58; n++) rater.undo()')
    assert names(page) == before and rated(page) == {}
    expect(act(page, 'undo')).to_have_attribute('aria-disabled', 'true')
    act(page, 'undo').click(force=True)     # nothing left: nothing happens
    give(page, 'fargo', 5)
    part(page, 'query').focus()
    page.keyboard.press('Control+z')     # undoes typing
    assert len(rated(page)) == 1

def test_undo_says_what_it_undid_and_takes_back_filters(visit, both):
    page = visit(both)
    unfold(page)
    give(page, 'fargo', 5)
    before = names(page)
    part(page, 'decade').select_option('1970s')
    for name in ('Comedy', 'War'): part(page, 'genres').get_by_label(name).check()
    assert '2 on' not in part(page, 'filters-on').inner_text() and '3 on' in part(page, 'filters-on').inner_text()
    for _ in range(5): part(page, 'dial').press('ArrowRight')
    assert '3 on' in part(page, 'filters-on').inner_text()      # the dial isn't a filter
    for left,label in (3, 'moving the dial'), (1, 'leaving out genres'), (0, 'choosing a decade'):
        act(page, 'undo').click()
        expect(part(page, 'say')).to_have_text(f'Undone: {label}.')
        assert part(page, 'say').bounding_box()['height'] > 20      # it can be seen, too
        assert (f'{left} on' if left else '') == part(page, 'filters-on').inner_text()
    assert part(page, 'dial').input_value() == '0' and names(page) == before and rated(page)
    part(page, 'decade').select_option('1970s')
    act(page, 'nofilter').click()
    assert names(page) == before and page.evaluate('document.activeElement.dataset.part') == 'list-title'

def test_the_same_star_again_or_clear_takes_it_back(visit, both):
    page = visit(both)
    part(page, 'query').fill('fargo')
    row = part(page, 'found').locator('> li').first
    for again in (row.locator('input[value="4"]'), row.locator('.clear')):
        row.locator('input[value="4"]').click()
        assert list(rated(page).values()) == [4]
        again.click()
        assert rated(page) == {}

def test_search_forgives_a_slip(visit, both):
    page = visit(both)
    def found(words):
        part(page, 'query').fill(words)
        return [] if part(page, 'found-note').inner_text().startswith('No movie') else names(page, 'found')
    for words in 'matrx', 'amelie', 'fergo', 'starwars', 'star warz', 'quiet harbr 55': assert found(words), words
    for words in 'The Matirx', 'martix': assert not found(words), words      # two slips in six letters
    assert found('matrx')[0] == 'The Matrix' and found('star warz')[0] == 'Star Wars'
    assert found('xyzzy') == [] and found('arwars') == []      # not from the middle of a word
    assert '400 movies from 1930 to' in part(page, 'within').inner_text()

def test_an_import_says_what_it_changed(visit, both, tmp_path):
    page = visit(both)
    give(page, 'fargo', 2)
    report = upload(page, 'title,rating\nFargo,4.5\nAmélie,3', tmp_path/'mine.csv')
    assert 'Rounded 1 rating ' in report and 'Replaced 1 rating ' in report
    act(page, 'undo').click()
    assert list(rated(page).values()) == [2]

def test_not_for_me(visit, both):
    page = visit(both)
    give(page, 'fargo', 5)
    first = names(page)[0]
    part(page, 'list').locator('[data-act=hide]').first.click()
    assert first not in names(page)
    reload(page)
    give(page, 'amelie', 5)
    assert first not in names(page) and names(page, 'hidden') == [first]
    unfold(page)
    part(page, 'hidden').get_by_role('button').click()
    assert not page.evaluate('rater.state.hidden[0].size')
    act(page, 'undo').click()
    assert names(page, 'hidden') == [first]

def test_the_watchlist(visit, both, tmp_path):
    page = visit(both)
    give(page, 'fargo', 5)
    before,button = names(page),part(page, 'list').locator('[data-act=watch]').nth(1)
    button.click()
    assert names(page) == before and names(page, 'watch') == [before[1]]
    expect(button).to_have_attribute('aria-pressed', 'true')
    reload(page)
    rows = list(csv.reader(io.StringIO(saved(page, 'export-watch', tmp_path).read_text())))
    assert rows[0] == ['movie', 'title'] and rows[1][1].startswith(before[1]) and len(rows) == 2
    assert rows[1][0] == str(page.evaluate('rater.data.items.ids[[...rater.state.watch[0].keys()][0]]'))

def test_filters(visit, both):
    page = visit(both)
    rate(page, {2: 5, 7: 4})
    page.locator('.filters summary').click()
    part(page, 'genres').get_by_label('Comedy').check()
    part(page, 'genres').get_by_label('War').check()
    part(page, 'decade').select_option('1970s')
    movies = catalog()
    def shown(): return movies.iloc[[page.evaluate('i => rater.data.items.ids[i]', i)-1 for i in listed(page)]]
    assert not shown().genres.str.contains('Comedy|War').any() and shown().title.str.contains(r'\(197\d\)').all()
    assert len(shown()) > 4
    reload(page)
    unfold(page)
    assert part(page, 'decade').input_value() == '1970' and shown().title.str.contains(r'\(197\d\)').all()
    for genre in ('Drama', 'Horror', 'Romance'): part(page, 'genres').get_by_label(genre).check()
    while len(listed(page)) == 10: rate(page, dict.fromkeys(listed(page), 3))
    act(page, 'nofilter').click()
    assert len(listed(page)) == 10 and part(page, 'decade').input_value() == ''

def test_the_dial(visit, both, models):
    rec,page = models('implicit'),visit(both)
    rate(page, {2: 5, 7: 4})
    guest = rec.fold_in([rec.items[2], rec.items[7]])
    for presses,share in (('ArrowRight',)*5, .5), (('End',), 1.), (('Home',), 0.):
        for key in presses: part(page, 'dial').press(key)
        assert [rec.items[i] for i in listed(page)] == rec.recommend(guest, popularity=share)['item'].tolist()

def test_all_is_there_after_a_reload(visit, both):
    page = visit(both)
    give(page, 'fargo', 5)
    give(page, 'star wars', 2)
    part(page, 'dial').press('ArrowRight')
    before = names(page)
    reload(page)
    assert names(page) == before and sorted(rated(page).values()) == [2, 5]
    assert part(page, 'dial').input_value() == '0.1'
    fresh = visit(both)     # another browser
    assert rated(fresh) == {}

def test_two_people(visit, both, models):
    page,rec = visit(both),models('implicit')
    unfold(page)
    page.locator('[data-name="1"]').fill('Ann <b>' + 'x'*40)
    assert len(page.evaluate('rater.state.names[1]')) == 30
    page.locator('[data-name="1"]').fill('Ann')
    give(page, 'fargo', 5)
    page.locator('[data-who="1"]').click()
    assert 'Ann' in part(page, 'list-title').inner_text() and not rated(page, 1)
    give(page, 'amelie', 5)
    give(page, 'star wars', 1)
    page.locator('[data-who="2"]').click()
    assert len(rated(page, 0)) == 1 and len(rated(page, 1)) == 2
    z = np.minimum(*(standard(rec.rank_scores(rec.fold_in([i]))[0].astype(float)) for i in (8, 9)))
    z[[rec.items.index(i) for i in (3, 8, 9)]] = -np.inf
    assert listed(page) == np.argsort(-z, kind='stable')[:10].tolist()
    assert "hate" in part(page, 'basis').inner_text() and 'Ann' in part(page, 'list').inner_text()
    gone = listed(page)[0]
    part(page, 'list').locator('[data-act=hide]').first.click()
    assert gone not in listed(page)
    reload(page)
    assert page.locator('[data-who="1"]').inner_text() == 'Ann' and len(rated(page, 1)) == 2

def test_what_would_i_give(visit, both, models):
    page,rec = visit(both),models('stars')
    unfold(page)
    part(page, 'ask').fill('alien 3')
    part(page, 'asked').get_by_role('button').first.click()
    assert 'rate something first' in part(page, 'answer').inner_text()
    rate(page, {2: 5, 7: 1, 20: 4})
    guest = rec.fold_in({rec.items[2]: 5, rec.items[7]: 1, rec.items[20]: 4})
    wanted = np.clip(rec.predict(guest, 12)[0], 1, 5)
    assert part(page, 'answer').locator('.result b').inner_text() == f'{wanted:.1f}'
    for side,sign in (('for', 1), ('against', -1)):
        speaks = rec.explain(guest, 12).query(f'{sign}*speaks >= .005').speaks
        got = part(page, 'answer').locator(f'.{side} .amount').all_inner_texts()
        assert got == [f'{s:+.2f}'.replace('-', '−') for s in speaks]

def test_no_stars_without_a_model_of_ratings(visit, models, tmp_path):
    page = visit(models('items').to_html(tmp_path/'rate.html', catalog()))
    assert part(page, 'ask-section').is_hidden() and part(page, 'map-section').is_hidden()
    give(page, 'fargo', 5)
    assert "You'd give" not in part(page, 'list').inner_text()

def test_a_movie_that_the_stars_do_not_know(visit, models, table, tmp_path):
    page = visit(models('implicit').to_html(tmp_path/'rate.html', catalog(), made_up(table[table.movie > 5])))
    rate(page, {2: 5, 7: 4})     # Star Wars, unknown to one model, and Fargo
    assert page.evaluate('[rater.predicted(0, 4), rater.predicted(0, 8) > 0]') == [None, True]
    unfold(page)
    part(page, 'ask').fill('the matrix')
    part(page, 'asked').get_by_role('button').first.click()
    assert "doesn't know this movie" in part(page, 'answer').inner_text() and len(names(page)) == 10

def test_delete_everything(visit, both):
    page = visit(both)
    give(page, 'fargo', 5)
    before = names(page)
    unfold(page)
    act(page, 'delete').click()
    act(page, 'keep').click()
    assert len(rated(page)) == 1
    act(page, 'delete').click()
    act(page, 'really').click()
    assert rated(page) == {} and page.evaluate('localStorage.length') == 0
    act(page, 'undo').click()
    assert names(page) == before
    reload(page)
    assert names(page) == before

def test_two_tabs(visit, both):
    one = visit(both)
    two = visit(both, one.context)
    give(one, 'fargo', 5)
    expect(part(two, 'rated-count')).to_have_text('1')
    assert names(two) == names(one)
    give(two, 'amelie', 2)
    expect(part(one, 'rated-count')).to_have_text('2')
    assert rated(one) == rated(two)

@pytest.mark.parametrize('scale,value', [((.5, 5), '4.5'), ((1, 10), '9'), ((-1, 1, 1), '-1'), ((0, 100, 25), '75'),
                                         ((1, 1, 1), '1')])
def test_half_stars_and_other_scales(visit, models, tmp_path, scale, value):
    page = visit(models('implicit').to_html(tmp_path/'rate.html', catalog(), scale=scale))
    give(page, 'fargo', value)
    assert list(rated(page).values()) == [float(value)]
    assert 'imported 1' in upload(page, f'title,rating\nAmélie,{value}\n', tmp_path/'mine.csv')
    assert list(rated(page).values()) == [float(value)]*2 and len(listed(page)) == 10

# Files

@pytest.fixture(scope='module')
def folder(table, tmp_path_factory):
    "A model that the command trained"
    root = tmp_path_factory.mktemp('command')
    table.drop(columns='title').to_csv(root/'ratings.csv', index=False)
    catalog().to_csv(root/'movies.csv', index=False)
    assert main(['train', f'{root}/ratings.csv', '--items', f'{root}/movies.csv', '--out', f'{root}/model']) == 0
    return root/'model'

def test_the_command_gives_the_pages_list(visit, folder, tmp_path, capsys):
    assert main(['page', str(folder), '-o', f'{tmp_path}/rate.html', '--heading', 'Tom & <Ann>']) == 0
    page = visit(tmp_path/'rate.html')
    assert page.title() == 'Tom & <Ann>'
    for words,value in (('fargo', 5), ('star wars', 4), ('matrix', 2), ('amelie', 5), ('alien 3', 1)):
        give(page, words, value)
    mine = saved(page, 'export', tmp_path)
    assert mine.name == 'my_ratings.csv'
    capsys.readouterr()
    assert main(['recommend', str(folder), '--ratings', str(mine), '--json']) == 0
    wanted = [row['item'] for row in json.loads(capsys.readouterr().out)]
    assert page.evaluate('rater.list().map(i => rater.data.items.ids[i])') == wanted

def test_the_commands_refusals(folder, tmp_path, capsys, monkeypatch):
    file = tmp_path/'rate.html'
    file.write_text('mine')
    assert main(['page', str(folder), '-o', str(file)]) == 1
    assert '--force' in capsys.readouterr().err and file.read_text() == 'mine'
    assert main(['page', str(folder), '-o', str(file), '--force']) == 0 and file.stat().st_size > 50_000
    assert main(['page', str(folder), '-o', f'{tmp_path}/rate.txt']) == 1
    assert main(['page', str(tmp_path), '-o', f'{tmp_path}/other.html']) == 1
    assert [p.name for p in tmp_path.iterdir()] == ['rate.html']
    monkeypatch.setenv('COLUMNS', '80')
    capsys.readouterr()
    with pytest.raises(SystemExit): main(['page', '--help'])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

def test_out_and_back_in(visit, both, tmp_path):
    page = visit(both)
    rate(page, {2: 5, 4: 1, 7: 3, 8: 4})
    before,mine = rated(page),saved(page, 'export', tmp_path)
    act(page, 'delete').click()
    act(page, 'really').click()
    assert 'imported 4 ratings' in upload(page, mine.read_bytes(), tmp_path/'mine.csv') and rated(page) == before
    act(page, 'undo').click()
    assert rated(page) == {}

LETTERBOXD = '''Date,Name,Year,Letterboxd URI,Rating
2024-01-02,Star Wars,1977,https://boxd.it/1,4.5
2024-01-03,The Matrix,1999,https://boxd.it/2,0.5
2024-01-04,Amelie,2002,https://boxd.it/3,4
2024-01-05,Nothing Like It,2020,https://boxd.it/4,4
2024-01-05,Fargo,1996,https://boxd.it/5,
'''

def test_letterboxd(visit, both, tmp_path):
    page = visit(both)
    said = upload(page, LETTERBOXD, tmp_path/'mine.csv')
    assert {page.evaluate('i => rater.data.items.titles[i]', i): v for i,v in rated(page).items()} == {
        'Star Wars (1977)': 5, 'Matrix, The (1999)': 1, 'Amélie (2001)': 4}
    assert 'Nothing Like It' in said and 'line 6: the rating is empty' in said

def test_my_ratings_reads_the_file(visit, both, tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_HOME', str(tmp_path/'home'))
    page = visit(both)
    give(page, 'fargo', 5)
    give(page, 'the matrix', 2)
    mine = my_ratings(catalog(), saved(page, 'export', tmp_path))
    assert dict(zip(mine.title, mine.rating, strict=True)) == {'Fargo (1996)': 5, 'Matrix, The (1999)': 2}
    kept = my_ratings(catalog())
    assert kept.movie.tolist() == mine.movie.tolist()
    (tmp_path/'other.csv').write_text('movie,rating\n99999,4\n')
    with pytest.raises(ValueError, match='99999 is not in the table'): my_ratings(catalog(), tmp_path/'other.csv')

def test_copy_for_the_notebook(visit, both):
    page = visit(both)
    give(page, 'amelie', 5)
    unfold(page)
    page.evaluate('Object.defineProperty(navigator, "clipboard", {value: undefined})')
    act(page, 'copy').click()
    text = part(page, 'literal').input_value()
    assert ast.literal_eval(text.removeprefix('stars = ')) == {'Amélie (2001)': 5}
    assert page.evaluate('getSelection().toString() || document.activeElement.value') == text

# What strangers put in

RUNS = '<img src=x onerror="window.ran = 1"><script>window.ran = 1</script>'
HOSTILE = {
    'script': f'</script>{RUNS}', 'comment': f'<!--<script>{RUNS}', 'image': RUNS, 'style': '</style><b>', 'empty': '',
    'quotes': '"a" \'b\' `c` ${1}', 'backslashes': r'C:\new\table\u003c\"', 'lines': 'one\ntwo\r\nthree\tfour',
    'separators': 'a\u2028b\u2029c\x85d', 'to the left': '\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd \u200f(1999)',
    'blank': '   ', 'emoji': '\U0001f469\u200d\U0001f467 \U0001f3ac (2001)', 'long': 'x'*10_000,
    'words': 'long word '*1000, 'zero': 'a\0b', 'formula': '=HYPERLINK("http://x.example")',
    'entity': '&lt;b&gt; &amp;', 'half a pair': 'a\ud800b', 'proto': '__proto__', 'year': '(1999)',
    'marks': 'Z' + '\u0351\u036b\u0343'*20}

def tiny(titles, ids=None):
    "A model and its table, of movies with these titles"
    rng,n = np.random.default_rng(0),12
    ids = (ids or list(range(1, n+1)))[:n]
    while len(ids) < n: ids = [*ids, f'more {len(ids)}' if isinstance(ids[0], str) else 100+len(ids)]
    titles = [*titles, *(f'Movie {k} (1990)' for k in range(n-len(titles)))]
    seen = pd.DataFrame({'user': np.repeat(range(5), n), 'movie': ids*5, 'rating': rng.integers(1, 6, 5*n)})
    rec = Recommender.from_factors(*(rng.normal(size=(k, 3)) for k in (5, n)), items=ids, seen=seen, rating='rating')
    return rec,pd.DataFrame({'movie': ids, 'title': titles, 'genres': [RUNS, *['Drama']*(n-1)]})

@pytest.mark.parametrize('title', HOSTILE.values(), ids=HOSTILE)
def test_titles_of_strangers(visit, title, tmp_path):
    "It's shown as text, and the rating gets out and in again"
    rec,movies = tiny([title])
    heading = title.encode(errors='replace').decode()
    page = visit(rec.to_html(tmp_path/'rate.html', movies, heading=heading, about=RUNS))
    unfold(page)
    rate(page, {0: 4, 1: 2})
    assert page.evaluate('rater.data.items.titles[0]') == title
    shown = part(page, 'rated').locator('> li[data-position="0"] strong')
    assert shown.count() == 1 and page.locator('img, main script').count() == 0
    if title in (RUNS, HOSTILE['entity']): assert shown.inner_text() == title
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth') <= 0
    text,literal = page.evaluate('[rater.ratingsCsv(), rater.literal()]')
    assert ast.literal_eval(literal.removeprefix('stars = ')) == {title: 4, 'Movie 0 (1990)': 2}
    cell = list(csv.reader(io.StringIO(text, newline='')))[1][1]
    assert cell in (title, f"'{title}") and not cell.startswith(('=', '+', '-', '@', '\t', '\r'))
    page.evaluate('rater.undo(), rater.undo()')
    page.evaluate('text => rater.importText(text)', text)
    assert rated(page) == {0: 4, 1: 2}
    reload(page)
    assert rated(page) == {0: 4, 1: 2}
    page.evaluate('rater.rate(0, null)')
    assert len(names(page)) == 10 and page.evaluate('window.ran') is None

IDS = {
    'quotes': ['"', "'", 'a"b,c', '""'], 'commas': [',', 'a,b', ';', '\t'], 'negative': [-1, -2, 0, 10**12],
    'lines': ['a\nb', 'c\r\nd', '\\n'], 'proto': ['__proto__', 'constructor'], 'formulas': ['=1+1', '@a', '-1'],
    'markup': [RUNS, '</script>', '<!--'], 'numbers': ['007', '7', '7.0', '1e3'], 'spaces': [' a', 'a', 'a ', ' ']}

@pytest.mark.parametrize('ids', IDS.values(), ids=IDS)
def test_ids_of_strangers(visit, ids, tmp_path):
    rec,movies = tiny([f'Named {k}' for k in range(len(ids))], ids)
    page = visit(rec.to_html(tmp_path/'rate.html', movies))
    mine = {p: 1+p for p in range(len(ids))}
    rate(page, mine)
    text = page.evaluate('rater.ratingsCsv()')
    assert [r['movie'] for r in csv.DictReader(io.StringIO(text, newline=''))] == list(map(str, ids))
    reload(page)
    assert rated(page) == mine
    for p in mine: page.evaluate('p => rater.rate(p, null)', p)
    page.evaluate('text => rater.importText(text)', text)
    assert rated(page) == mine and page.evaluate('window.ran') is None

def table_of(*rows, head='title,rating'): return '\n'.join([head, *rows])

BAD = '99', 'NaN', '-1', '', '1e999', '٣', '0x3', '3 stars', '-0.1'
IMPORTS = {     # content, how many ratings come in, what the page says
    'empty': ('', 0, 'Nothing was imported. The file is empty'), 'blank': (' \n\r\n \n', 0, 'Nothing was imported'),
    '6 MB': (table_of('Nothing (1999),3\n'*370_000), 0, '5 MB is the most'), 'binary': (bytes(range(256)), 0, 'UTF-8'),
    'zeros': (table_of('Fargo\0,3'), 0, 'UTF-8'), 'png': (b'\x89PNG\r\n\x1a\n\xff', 0, 'UTF-8'),
    'UTF-16': (table_of('Fargo,3').encode('utf-16'), 0, 'UTF-8'),
    'BOM': (f'\ufeff{table_of("Amélie,3")}', 1, 'imported 1'),
    'latin-1': (table_of('Amélie,3').encode('latin-1'), 0, 'UTF-8'),
    'half a row': (table_of('Fargo,4', 'Amél'), 1, 'empty'),
    'half a field': (table_of('Fargo,4', '"Star Wa'), 1, 'imported 1'),
    'html': (f'<!doctype html>{RUNS}', 0, 'first line'), 'header only': (table_of(), 0, 'Nothing was imported'),
    'no header': ('Fargo,4\nAmélie,3', 0, 'first line'),
    'formulas': (table_of('"=cmd|\'/c calc\'!A1",4', 'Fargo,=1+1', 'Amélie,3'), 1, '=cmd'),
    'markup': (table_of(RUNS.replace('"', '') + ',4', 'Fargo,3'), 1, 'onerror'),
    'ratings': (table_of(*(f'Fargo,{v}' for v in BAD)), 0, 'Skipped 9 rows'),
    'rounded': (table_of('Fargo,3.2', 'Amélie,0'), 2, 'Rounded 2 ratings'),
    'tabs': ('title\trating\nFargo\t4', 1, 'imported 1'),
    'semicolons': ('title;rating\nFargo;4,5\nAmélie;"3,0"', 2, 'imported 2'),
    'twice': (table_of('Fargo,1', 'fargo,2', 'Fargo (1996),4'), 1, 'Read 3 rows'),
    'unknown': (table_of(*(f'Unheard of {k},3' for k in range(12)), 'Fargo,3'), 1, 'and 2 more'),
    '20,000 rows': (table_of(*(f'{k},,3' for k in range(20_000)), head='movie,title,rating'), N, '20,000 rows'),
    'old Mac': ('title,rating\rFargo,4\rAmélie,3\r', 2, 'imported 2'),
    'two lines': (table_of('"Star\nWars",4'), 1, 'imported 1'),
    'quotes': (table_of('Far"go,4', '"Fargo"x,4', '"Fargo""",4', '"'*2000), 1, 'imported 1'),
    'ragged': (table_of('Fargo', ',,,,', 'Amélie,4,5,6,7', ''), 1, 'imported 1'),
    'proto': (table_of('__proto__,4', 'constructor,4', '8,3', head='movie,rating'), 1, '__proto__'),
    'someone else': (table_of('8,Another Thing (1950),5', '3,Fargo (1996),4', head='id,title,rating'), 1, 'Another'),
    'a long line': (table_of('x'*1_000_000 + ',4', 'Fargo,4'), 1, 'imported 1')}

@pytest.mark.parametrize('content,n,said', IMPORTS.values(), ids=IMPORTS)
def test_files_of_strangers(visit, both, content, n, said, tmp_path):
    page = visit(both)
    report = upload(page, content, tmp_path/'mine.csv')
    assert said in report and len(rated(page)) == n, report[:500]
    if n == N: page.evaluate('rater.undo()')
    works(page)

STATE = {'version': 1, 'names': ['a', 'b'], 'without': [], 'decade': '', 'popular': 0, 'ratings': [[[8, 5]], []],
         'hidden': [[], []], 'watch': [[]]}
STORED = {
    'cut off': '{"version": 1, "rat', 'null': 'null', 'a number': '5', 'a list': '[]', 'empty': '',
    'bare': '{"version": 1}', 'version': '{"version": 2}', 'deep': '['*200_000, 'long': 'x'*1_000_000,
    'proto': '{"__proto__": {"version": 1}}', 'rating': {'ratings': [[[8, 99]], []]},
    'text': {'ratings': [[[8, '5']], []]}, 'huge': {'ratings': [[[1e308, 5]], []]},
    'unknown': {'ratings': [[['__proto__', 5]], []]}, 'three': {'ratings': [[], [], []]},
    'nulls': {'ratings': [[None], []]}, 'no list': {'ratings': {'length': 2}}, 'hidden': {'hidden': [[None], []]},
    'watch': {'watch': None}, 'name': {'names': ['x'*10_000, 'b']}, 'markup': {'names': [RUNS, 'b']},
    'filters': {'without': [1]}, 'share': {'popular': 1e9}}

def with_storage(file, text):
    "A script that puts something into the page's storage before the page starts"
    stamp = re.search(r'"stamp":"(\w+)"', file.read_text())[1]
    return f'localStorage.setItem("collab_nb:{stamp}", {json.dumps(text)})'

@pytest.mark.parametrize('stored', STORED.values(), ids=STORED)
def test_storage_of_strangers(visit, both, stored):
    text = stored if isinstance(stored, str) else json.dumps({**STATE, **stored})
    page = visit(both, script=with_storage(both, text))
    expect(part(page, 'notice')).to_contain_text("can't be read")
    assert rated(page) == {}
    works(page)

def test_storage_of_another_version_of_the_catalog(visit, both):
    "What's right is read, and names of genres that aren't here are left out"
    text = json.dumps({**STATE, 'without': ['Comedy', 'Opera'], 'decade': '1870', 'more': RUNS})
    page = visit(both, script=with_storage(both, text))
    assert list(rated(page).values()) == [5] and page.evaluate('rater.state.without') == ['Comedy']
    assert part(page, 'notice').is_hidden()
    works(page)

BLOCKED = {
    'throws': 'Object.defineProperty(window, "localStorage", {get() { throw new DOMException("", "SecurityError"); }})',
    'full': 'Storage.prototype.setItem = () => { throw new DOMException("", "QuotaExceededError"); }',
    'missing': 'Object.defineProperty(window, "localStorage", {value: null})'}

@pytest.mark.parametrize('script', BLOCKED.values(), ids=BLOCKED)
def test_storage_that_keeps_nothing(visit, both, script):
    page = visit(both, script=script)
    works(page)
    expect(part(page, 'notice')).to_contain_text('keep')

# In a frame

def outer(rec, folder, change=lambda text: text):
    "A page around the frame, as a notebook's output"
    file = folder/'notebook.html'
    frame = change(rec.rater(catalog())._repr_html_())
    file.write_text(f'<!doctype html><meta charset="utf-8"><title>Notebook</title>{frame}')
    return file

def inside(page):
    "The frame, once it has a list"
    page.frame_locator('iframe').locator('[data-part=list] > li').first.wait_for()
    return page.frames[1]

def test_a_frame_keeps_ratings(visit, models, tmp_path):
    page = visit(outer(models('implicit'), tmp_path))
    frame = inside(page)
    before = names(frame)
    give(frame, 'fargo', 5)
    assert names(frame) != before and part(frame, 'notice').is_hidden()
    reload(page)
    assert list(rated(inside(page)).values()) == [5]

def test_a_frame_that_may_keep_nothing(visit, models, tmp_path):
    page = visit(outer(models('implicit'), tmp_path, lambda text: text.replace('allow-same-origin ', '')))
    frame = inside(page)
    expect(part(frame, 'notice')).to_contain_text("doesn't let the page keep anything")
    before = names(frame)
    give(frame, 'fargo', 5)
    assert names(frame) != before

NOTEBOOK = '''import numpy as np
from collab_nb.serving import Recommender
rng = np.random.default_rng(0)
rec = Recommender.from_factors(rng.normal(size=(5, 4)), rng.normal(size=(40, 4)), feedback='stars',
                               titles={i: f'Movie {i}' for i in range(40)})
rec.rater()'''

def test_in_jupyterlab(browser, lab):
    kernel = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3'}}
    content = new_notebook(cells=[new_code_cell(NOTEBOOK)], metadata=kernel)
    body = json.dumps({'type': 'notebook', 'content': content}).encode()
    urllib.request.urlopen(urllib.request.Request(f'{lab}/api/contents/nbs/rater.ipynb', body, method='PUT'))
    with test_browser.opened(browser, lab, 'rater') as page:
        page.locator('.jp-CodeCell .cm-content').first.click()
        page.keyboard.press('Control+Enter')
        frame = page.frame_locator('.jp-OutputArea iframe')
        titles = frame.locator('[data-part=list] > li strong')
        titles.first.wait_for(timeout=60_000)
        before = titles.all_inner_texts()
        frame.locator('[data-part=found] input[value="5"]').first.click()
        assert len(before) == 10 and titles.all_inner_texts() != before
        expect(frame.locator('[data-part=rated-count]')).to_have_text('1')

# What the page may do

def policy(text):
    return dict(p.split(' ', 1) for p in re.search(r'Content-Security-Policy" content="(.*?)"', text)[1].split('; '))

def test_the_policy_names_style_and_script(both):
    text = both.read_text(encoding='utf-8')
    for tag,rule in (('style', 'style-src'), ('script type="module"', 'script-src')):
        body, = re.findall(rf'(?s)<{tag}>(.*?)</{tag.split()[0]}>', text)
        assert policy(text)[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
    assert policy(text)['default-src'] == "'none'" and policy(text)['img-src'] == 'data:'
    assert set(policy(text)) == {'default-src', 'script-src', 'style-src', 'img-src', 'base-uri', 'form-action'}
    assert len(re.findall('<script', text)) == 2 and not re.search(r'<[^>]*\s(on\w+|style)=', text.split('<script')[0])
    assert set(re.findall(r'https?://[^\s"\'`)<]+', text)) == {'http://www.w3.org/2000/svg'}

def test_nobodys_ratings_are_in_it(table, tmp_path):
    secret = table.assign(user='qzx' + table.user.astype(str))
    page = page_html(ials(secret, n_factors=4, n_iter=2), catalog())
    assert 'qzx' not in page

def test_a_script_that_was_changed_does_not_run(browser, both, tmp_path):
    file = tmp_path/'changed.html'
    file.write_text(both.read_text().replace('const LENGTH = 10;', 'const LENGTH = 11;'))
    page,said = browser.new_page(),[]
    page.on('console', lambda m: said.append(m.text))
    page.goto(file.as_uri())
    assert page.evaluate('typeof rater') == 'undefined' and any('Content Security Policy' in s for s in said)
    page.close()

def test_the_network_is_out_of_reach(browser, both):
    page,asked = browser.new_page(),[]
    page.goto(both.as_uri())
    page.on('response', lambda r: asked.append(r.url))
    blocked = page.evaluate('''async () => {
      const seen = [], image = new Image(), add = document.body.append.bind(document.body);
      document.addEventListener('securitypolicyviolation', event => seen.push(event.effectiveDirective));
      const failed = await fetch('data:text/plain,x').then(() => false, () => true);
      image.src = 'http://127.0.0.1:9/x.png';
      add(image, Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}));
      await new Promise(requestAnimationFrame);
      await new Promise(later => setTimeout(later, 50));
      return {failed, seen};
    }''')
    assert blocked['failed'] and {'connect-src', 'img-src', 'script-src-elem'} <= set(blocked['seen'])
    assert asked == [] and page.evaluate('window.ran') is None
    page.close()

# For everybody, and fast

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1280])
def test_axe_finds_nothing_serious(visit, both, width, scheme, tmp_path):
    page = visit(both, width=width, scheme=scheme, reduced_motion='reduce')
    rate(page, {2: 5, 4: 1, 7: 4})
    rate(page, {8: 5, 11: 2}, person=1)
    part(page, 'list').locator('[data-act=hide]').first.click()
    part(page, 'list').locator('[data-act=watch]').first.click()
    unfold(page)
    part(page, 'ask').fill('alien 3')
    part(page, 'asked').get_by_role('button').first.click()
    upload(page, 'title,rating\nNothing,3\nFargo,4\n', tmp_path/'mine.csv')
    act(page, 'delete').click()
    for who in (0, 2):
        page.locator(f'[data-who="{who}"]').click()
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        found = Axe().run(page, options={'resultTypes': ['violations']}).response['violations']
        assert [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found
                if v['impact'] in ('serious', 'critical')] == []

def tab_to(page, selector, most=80):
    for _ in range(most):
        page.keyboard.press('Tab')
        if page.evaluate('where => document.activeElement.matches(where)', selector): return
    pytest.fail(f'{selector} is out of reach')

def test_by_keyboard_alone(visit, only_stars):
    page = visit(only_stars)
    before = names(page)
    tab_to(page, '[data-part=query]', 10)
    page.keyboard.type('star wars')
    tab_to(page, '[data-part=found] input', 5)
    page.keyboard.press('ArrowRight')     # moving isn't rating
    assert rated(page) == {}
    page.keyboard.press('5')
    assert list(rated(page).values()) == [5] and names(page) != before
    tab_to(page, '[data-part=list] input')
    first = names(page)[0]
    for key in ('ArrowRight', 'Space'): page.keyboard.press(key)
    assert list(rated(page).values()) == [5, 2] and first not in names(page)
    assert page.evaluate('document.activeElement.closest("[data-part=list]") !== null')     # focus isn't lost
    tab_to(page, '[data-part=list] [data-act=watch]')
    page.keyboard.press('Enter')
    assert page.evaluate('rater.state.watch[0].size') == 1

@pytest.mark.parametrize('n,limit', [(1682, 50), (20_000, 300)])
def test_from_click_to_list(visit, n, limit, tmp_path):
    rng = np.random.default_rng(0)
    def draw(*shape): return rng.normal(0, .3, shape).astype(np.float32)
    ids = list(range(1, n+1))
    rec = Recommender.from_factors(draw(2, 40), draw(n, 40), items=ids, feedback='implicit', row_weights=(n+20, 20))
    stars = Recommender.from_factors(draw(2, 40), draw(n, 40), items=ids, y_range=(.5, 5.5))
    page = visit(rec.to_html(tmp_path/'rate.html', catalog(n), stars))
    rate(page, {i: 1 + i%5 for i in range(0, 400, 20)})
    took = page.evaluate('''() => Array.from({length: 9}, () => {
      const list = document.querySelector('[data-part=list]'), before = list.textContent, start = performance.now();
      list.querySelector('input[value="5"]').click();
      list.getBoundingClientRect();
      return list.textContent === before ? Infinity : performance.now()-start;
    }).sort((a, b) => a-b)''')
    print(f'{n:,} items: {took[4]:.0f} ms from click to list (median of 9, slowest {took[8]:.0f})')
    assert took[4] < limit*SLACK

# Python's side

def test_what_to_html_refuses(models, tmp_path, monkeypatch):
    rec,stars = models('implicit'),models('stars')
    other = catalog().assign(movie=lambda t: t.movie+10_000)
    for path,items,kwargs,said in (
            ('rate.txt', None, {}, 'must end in .html'), ('none/rate.html', None, {}, 'folder that exists'),
            ('rate.html', other, {}, "must hold the recommender's items"),
            ('rate.html', None, {'stars': rec}, 'recommender of ratings'),
            ('rate.html', None, {'scale': (1, 100, 1)}, 'to ten ratings'),
            ('rate.html', None, {'scale': (5, 1)}, 'scale')):
        with pytest.raises(ValueError, match=said): rec.to_html(tmp_path/path, items, **kwargs)
    monkeypatch.setattr('collab_nb.page.MOST', 10_000)
    for kwargs in ({}, {'stars': stars}):
        with pytest.raises(ValueError, match='take fewer items or factors'): rec.to_html(tmp_path/'rate.html', **kwargs)
    assert list(tmp_path.iterdir()) == []

def test_the_old_page_stays_if_writing_fails(models, tmp_path, monkeypatch):
    file = models('implicit').to_html(tmp_path/'rate.html', catalog())
    before = file.read_bytes()
    def fail(*args): raise OSError('no space left on device')
    with monkeypatch.context() as mp:
        mp.setattr('collab_nb.page.os.replace', fail)
        with pytest.raises(OSError): models('stars').to_html(file, catalog())
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
    assert models('implicit').to_html(file, catalog()).read_bytes() == before     # the same model makes the same page
