"""The bench of speed: its tables, its trials, its rows at quick size, and what it makes of the results."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from collab_nb.evaluate import Scores,evaluate
from collab_nb.synth import synth_ratings
from conftest import ROOT

sys.path.insert(0, str(ROOT/'tests'/'bench'))
import speed
import speed_rows
from speed_rows import ROWS,Laps,Table,compact,of_table,tries

TABLES = [(row, table) for row in ROWS for table in row['tables']]
OWN = [(row, table) for row,table in TABLES if row['group'] != 'peer' and row['fit'] != 'ials_fast']

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Both tables, very small"
    res = tmp_path_factory.mktemp('speed')
    about = {'10M': speed.planted(res, 300, 90, 6000, n_factors=2),
             '100k': speed.small(res, synth_ratings(90, 60, 2500, seed=3))}
    (res/'tables.json').write_text(json.dumps(about))
    return res

def job(row, table, kind, folder, settings):
    part = '-trials' if kind == 'trials' else ''
    return {'row': row['name'], 'table': table, 'kind': kind, 'file': folder/f'{table}{part}.npz', 'settings': settings}

# Tables

def test_codes_all_occur_and_ratings_stay_with_their_pairs():
    rng = np.random.default_rng(0)
    u,i,r = rng.choice([2, 5, 7], 40),rng.choice([0, 9], 40),rng.random(40)
    table,(users,items) = compact(u, i, r)
    assert set(table.u) == {0, 1, 2} and set(table.i) == {0, 1} and (table.n_users, table.n_items) == (3, 2)
    assert (users[u] == table.u).all() and (users[[0, 1, 3]] == -1).all() and (table.r == r).all()
    assert users[[2, 5, 7]].tolist() == [0, 1, 2] and items[[0, 9]].tolist() == [0, 1]

def test_trials_see_no_test_row(folder):
    "The tenth's users keep all of their training rows, and what is chosen on is cut from these"
    def triples(name, part):
        of = np.load(folder/f'{name}.npz')
        return len(of[f'{part}_u']),np.sort(of[f'{part}_r'])
    n,_ = triples('10M-slice', 'train')
    fit,valid = triples('10M-trials', 'train')[0],triples('10M-trials', 'test')[0]
    assert .9*n < fit+valid <= n and 0 < valid < .1*n
    whole_users,few = (np.load(folder/f'{name}.npz')['train_u'] for name in ('10M', '10M-slice'))
    counts = np.bincount(whole_users),np.bincount(few)
    assert len(counts[1]) <= 30 and set(counts[1]) <= set(counts[0])
    n = triples('100k', 'train')[0]
    assert triples('100k-trials', 'train')[0]+triples('100k-trials', 'test')[0] <= n == 2000

def test_the_floor_is_below_what_means_reach(folder):
    about = json.loads((folder/'tables.json').read_text())['10M']
    assert 0 < about['floor'] < about['movie means'] < about['mean']

# Rows

@pytest.mark.parametrize('row, table', TABLES, ids=lambda v: v if isinstance(v, str) else v['name'])
def test_every_row_has_the_same_number_of_trials(row, table):
    tried = tries(of_table(row, table), speed.BOOK['trials'])
    assert len(tried) == len({json.dumps(t, sort_keys=True) for t in tried}) == speed.BOOK['trials']
    assert tried[0] == of_table(row, table)['default'] and all(set(t) >= set(tried[0]) for t in tried)

@pytest.mark.parametrize('row, table', OWN, ids=lambda v: v if isinstance(v, str) else v['name'])
def test_our_rows_run(row, table, folder, monkeypatch):
    if row['fit'] == 'kernel': pytest.importorskip('numba')
    monkeypatch.setattr(speed_rows, 'warm', lambda *args: None)
    settings = {**of_table(row, table)['default'], **({'epochs': 1} if row['task'] == 'stars' else {'n_iter': 1})}
    if row['fit'] == 'kernel': settings['epochs'] = 2
    got = speed_rows.main(job(row, table, 'fit', folder, settings))
    assert got['cpu'] >= got['preparing'] > 0 and got['settings'] == settings and got['versions']
    assert 0 <= got['ndcg'] <= 1 if row['task'] == 'lists' else .5 < got['rmse'] < 3

def test_the_kernel_beats_movie_means_and_counts_its_ratings(folder, monkeypatch):
    pytest.importorskip('numba')
    monkeypatch.setattr(speed_rows, 'warm', lambda *args: None)
    row = next(r for r in ROWS if r['fit'] == 'kernel')
    got = speed_rows.main(job(row, '10M', 'fit', folder, {'reg': .1, 'epochs': 20}))
    means = json.loads((folder/'tables.json').read_text())['10M']['movie means']
    assert got['rmse'] < means and got['ratings_per_s'] > 1000
    said = speed_rows.main({**job(row, '10M', 'threads', folder, {'epochs': 3}), 'runs': 1})
    assert said['same_bits'] and said['ratio'] > 0
    coded = speed_rows.main({**job(row, '10M', 'coded', folder, {'reg': .1, 'epochs': 20}), 'runs': 1})
    assert coded['rmse'] == pytest.approx(got['rmse'], abs=1e-9) and coded['cpu'] > coded['preparing'] > 0

def test_a_row_whose_module_is_missing_says_so(folder, monkeypatch):
    row = {**next(r for r in ROWS if r['fit'] == 'cmfrec'), 'needs': ['no_such_module']}
    monkeypatch.setattr(speed_rows, 'ROWS', [row])
    assert speed_rows.main(job(row, '10M', 'fit', folder, {})) == {'missing': 'No module named no_such_module'}

def test_a_trial_that_fails_does_not_stop_the_others(folder, monkeypatch):
    def fit(table, lap, seed, level):
        if level < 0: raise ValueError('level must be at least 0')
        return lambda u,i: np.full(len(u), level)
    monkeypatch.setattr(speed_rows, 'cmfrec', fit)
    row = next(r for r in ROWS if r['fit'] == 'cmfrec')
    data = speed_rows.load(folder/'10M-trials.npz')
    tried = speed_rows.do_trials(row, data, {'settings': [{'level': -1}, {'level': 3.5}]})['tried']
    assert tried[0]['failed'] == 'level must be at least 0'
    assert tried[1]['rmse'] == pytest.approx(np.sqrt(np.mean((data[1].r-3.5)**2)))

def test_phases():
    lap = Laps()
    sum(range(100_000))
    lap('preparing')
    got = lap.done()
    assert 0 < got['preparing'] <= got['cpu']
    lap('preparing', 7)
    assert lap.done()['preparing'] == 7

def test_liked_rows_have_codes_of_their_own():
    train = Table(*(np.array(a) for a in ([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], [5, 3, 2, 4, 4])))
    test = Table(*(np.array(a) for a in ([0, 2, 1, 2], [2, 0, 0, 1], [4, 5, 5, 5])))
    liked,held = speed_rows.like((train, test))
    assert (liked.u.tolist(), liked.i.tolist()) == ([0, 1, 1], [0, 1, 0])     # user 1 and movie 1 are gone
    assert (held.u.tolist(), held.i.tolist()) == ([0, 1], [1, 0])

def test_ndcg_is_the_library_s():
    made = synth_ratings(60, 40, 900, seed=1)
    train,test = made.iloc[:700],made.iloc[700:]
    fit,(users,items) = compact(*(train[c].to_numpy() for c in ('user', 'movie', 'rating')))
    known = test[(test.user.isin(train.user)) & (test.movie.isin(train.movie))]
    held = Table(users[known.user], items[known.movie], known.rating.to_numpy())
    rng = np.random.default_rng(0)
    P,Q = rng.normal(size=(fit.n_users, 3)),rng.normal(size=(fit.n_items, 3))
    who = np.unique(known.user)
    scores = Scores(who.tolist(), np.unique(train.movie).tolist(), P[users[who]] @ Q.T)
    want = evaluate(scores, known, train, k=10).ndcg.mean()
    assert speed_rows.ndcg(P, Q, fit, held) == pytest.approx(want, abs=1e-6)

# The driver

def fake(row, kind, settings, error=.9):
    if kind == 'trials':
        return {'tried': [{'settings': s, 'rmse': error+.01*k, 'ndcg': .1+.1*k, 'cpu': 1.+k}
                          for k,s in enumerate(settings)]}
    if kind == 'threads': return {'ratio': 1.9, 'same_bits': True}
    if kind not in ('fit', 'coded'): return {}
    return {'cpu': 40. if row == 'Surprise SVD' else 2., 'preparing': .5, 'mb': 100, 'rmse': error, 'ndcg': .2,
            'settings': settings, 'versions': {}, **({'ratings_per_s': 1e7} if kind == 'coded' else {})}

@pytest.fixture
def driven(tmp_path):
    "A bench whose processes are made up: the bench, and what it ran"
    ran = []
    def go(job, python, env, limit):
        ran.append((job['row'], job['table'], job['kind'], Path(job['file']).name))
        if job['row'] == 'LIBMF': return {'missing': 'no compiler'}
        return fake(job['row'], job['kind'], job['settings'])
    def make(): return speed.Bench(tmp_path, speed.BOOK, go)
    return make,ran

def everything(bench):
    for row,table in TABLES: bench.trials(row, table)
    for k in range(3):
        for row,table in TABLES: bench.fit(row, table, k)
    speed.extras(bench, True)

def test_what_is_done_is_not_run_again(driven):
    make,ran = driven
    bench = make()
    for row,table in TABLES: bench.trials(row, table)
    cornac = next(r for r in ROWS if r['name'] == 'Cornac MF')
    assert bench.estimate([(cornac, '100k')], 3) == 3*(1+5) and bench.estimate([(cornac, '10M')], 3) == 3*(10+5)
    everything(bench)
    count = lambda *key: sum(r[:3] == key for r in ran)
    assert count('Cornac MF', '10M', 'fit') == 3 and count('Surprise SVD', '10M', 'fit') == 1
    assert count('LIBMF', '10M', 'trials') == 2 and not count('LIBMF', '10M', 'fit')
    assert ('Surprise SVD', '10M', 'fit', '10M-slice.npz') in ran and ('Cornac MF', '10M', 'fit', '10M.npz') in ran
    ran.clear()
    again = make()
    assert again.estimate(TABLES, 3) == 0
    everything(again)
    assert {r[0] for r in ran} == {'LIBMF'}     # a peer that was missing is asked for again

def test_a_row_that_changed_is_run_again(driven, monkeypatch):
    make,ran = driven
    everything(make())
    ran.clear()
    row = next(r for r in ROWS if r['name'] == 'Cornac MF')
    monkeypatch.setitem(row, 'default', {'k': 20, 'max_iter': 20})
    everything(make())
    assert {r[0] for r in ran} == {'LIBMF', 'Cornac MF'}

def test_lists_are_compared_at_equal_ndcg(driven):
    make,_ = driven
    bench = make()
    row = next(r for r in ROWS if r['name'] == 'irspack, iALS')
    weak = next(r for r in ROWS if r['name'] == 'implicit, ALS')
    bench.trials(row, '10M')
    tried = tries(of_table(row, '10M'), 8)
    assert bench.settings(row, '10M') == tried[-1]     # alone: its best
    bench.go = lambda job, *args: {'tried': [{'settings': {}, 'ndcg': .35, 'cpu': 1.}]}
    bench.trials(weak, '10M')
    assert bench.settings(row, '10M') == tried[3]      # .4 is the cheapest that reaches .35

def test_the_summary_and_its_tables(driven, folder):
    make,_ = driven
    bench = make()
    everything(bench)
    res = speed.summarize(bench, json.loads((folder/'tables.json').read_text()), {'date': 'today'})
    of = {(r['row'], r['table']): r for r in res['rows']}
    assert len(of) == len(TABLES) == len(res['rows'])
    assert of['LIBMF', '10M']['why'] == 'missing: no compiler'
    assert of['Surprise SVD', '10M']['slice'] == 10 and 'slice' not in of['Surprise SVD', '100k']
    assert of['Cornac MF', '10M']['runs'] == 3 and of['Cornac MF', '10M']['trials'] == speed.BOOK['trials']
    text = speed.report(res)
    line = next(line for line in text.splitlines() if line.startswith('| Surprise SVD'))
    assert '400' in line and 'timed on a tenth, x10' in line     # 40 s on a tenth
    assert '1.90 times as fast' in text and 'missing: no compiler' in text
    assert 'from codes to rows, 6 epochs: 2.00 CPU s' in text
    table = speed.readme_table(res)
    assert len(table.split('\n\n')[0].splitlines()) == 2+5      # LIBMF is missing
    assert f"{res['tables']['10M']['floor']:.3f}" in table
    assert set(speed.README) <= {r['name'] for r in ROWS}

def test_readme_rows_and_the_stored_result():
    "Once a result is stored, its rows are the bench's"
    if not speed.STORED.exists(): pytest.skip('no run is stored yet')
    res = json.loads(speed.STORED.read_text(encoding='utf-8'))
    assert [(r['row'], r['table']) for r in res['rows']] == [(r['name'], t) for r,t in TABLES], 'make bench PART=speed'
    assert speed.report(res)
    readme = speed.README_FILE.read_text(encoding='utf-8')
    assert speed.into_readme(readme, speed.readme_table(res)) == readme, 'README has other rows'
    assert '\nother rows\n' in speed.into_readme(readme, 'other rows')
