"""The bench: it chooses without a look at test rows, scores them once, reports a missing peer, gets its standard errors
right, goes on where a record stopped, and README holds its rows."""
import argparse
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from collab_nb.data import fold_split
from collab_nb.evaluate import Scores,evaluate
from collab_nb.further.sampler import interval_coverage,star_places
from collab_nb.record import PM,gain_table,headline,read_record,record_table
from collab_nb.splits import inner_split
from collab_nb.synth import synth_ratings
from conftest import ROOT

BENCH = ROOT/'tests'/'bench'
sys.path.insert(0, str(BENCH))
import ours
import peers
import protocol
import report
import rows

spec = importlib.util.spec_from_file_location('bench_driver', BENCH/'__main__.py')
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)

RECORD = ROOT/'collab_nb'/'record.json'

def planted(n_users=60, n_items=40, n=1500, seed=0):
    "Ratings with every column that a row may see"
    ratings,rng = synth_ratings(n_users, n_items, n, noise=.3, seed=seed),np.random.RandomState(seed)
    users,movies = (ratings[c].astype('category').cat.codes.to_numpy() for c in ('user', 'movie'))
    return pd.DataFrame({
        'user': ratings.user, 'movie': ratings.movie, 'rating': ratings.rating.round().clip(1, 5).astype(int),
        'timestamp': rng.randint(0, 30, len(ratings))*86400, 'age': rng.randint(15, 60, 99)[users],
        'gender': rng.choice(['F', 'M'], 99)[users], 'occupation': rng.choice(['writer', 'artist'], 99)[users],
        'zip_code': rng.choice(['94043', '01002', 'V5A2B'], 99)[users],
        'year': rng.randint(1930, 1999, 99)[movies], 'genres': rng.choice(['Drama', 'Drama|War'], 99)[movies]})

def cut(n, n_test):
    "A split of n rows whose first `n_test` are test rows, with its inner rows"
    return driver.with_inner((np.arange(n_test, n), np.arange(n_test)))

# Choosing

@pytest.mark.parametrize('n, n_valid', [(100_000, 8000), (1000, 80)])
def test_inner_rows_are_training_rows(n, n_valid):
    of = cut(n, n//5)
    assert len(of['valid']) == n_valid and len(np.intersect1d(of['fit'], of['valid'])) == 0
    assert np.array_equal(np.union1d(of['fit'], of['valid']), of['train'])
    assert np.array_equal(of['valid'], inner_split((of['train'], of['test']), n=n_valid)[1])

def test_trials_are_the_default_and_random_ones_and_no_two_alike():
    row = rows.row('some', 'ours:means', default={'rank': 1}, space={'rank': [2, 3, 4]})
    assert protocol.trials(row, 0) == [] and protocol.trials(row, 1) == [{'rank': 1}]
    assert sorted(t['rank'] for t in protocol.trials(row, 4)) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match='fewer than 5'): protocol.trials(row, 5)
    for r in rows.ROWS: assert 'tries' in r or len(protocol.trials(r, r['trials'])) == r['trials']
    assert all(.01 <= protocol.draw({'wd': (.01, .1)}, np.random.RandomState(i))['wd'] <= .1 for i in range(20))

def test_a_row_sees_what_its_kind_says_and_no_test_rating(monkeypatch):
    seen = []
    def spy(train, test, seed, **settings):
        seen.append((set(train), set(test), len(train)))
        return np.full(len(test), 9.)
    monkeypatch.setattr(ours, 'means', spy)
    ratings = planted()
    n = len(ratings)
    splits = cut(n, n//5)
    for kind,more in protocol.COLUMNS.items():
        seen.clear()
        row = rows.row('some', 'ours:means', kind=kind, space={'a': [1, 2, 3]})
        res,preds = protocol.run(row, ratings, splits, n_trials=2)
        assert [s[0] for s in seen] == [{'user', 'movie', 'rating', *more}]*3
        assert [s[1] for s in seen] == [{'user', 'movie', *more}]*3
        # two trials on the inner rows, then all of the training part
        assert [s[2] for s in seen] == [len(splits['fit'])]*2+[len(splits['train'])]
        assert (preds == 5).all() and res['rmse'] == protocol.rmse(ratings.rating[:n//5], 5) and res['trials'] == 2

def test_the_best_trial_is_frozen(monkeypatch):
    monkeypatch.setattr(ours, 'means', lambda train, test, seed, level=1: np.full(len(test), level))
    row = rows.row('some', 'ours:means', space={'level': [2, 3, 4]})
    res,preds = protocol.run(row, planted().assign(rating=4), cut(1000, 300), n_trials=4)
    assert res['settings'] == {'level': 4} and (preds == 4).all()
    assert res['valid'] == res['rmse'] == 0 and len(res['tried']) == 4

def test_predictions_that_are_no_numbers_are_refused(monkeypatch):
    ratings,row = planted()[:10],rows.row('some', 'ours:means')
    for preds in (np.full(10, np.nan), np.ones(9), np.ones((10, 1))):
        monkeypatch.setattr(ours, 'means', lambda train, test, seed, preds=preds: preds)
        with pytest.raises(ValueError, match='must be 10 finite numbers'): protocol.predict(row, ratings, ratings)

# What is missing, and what failed

NOBODY = 'rows.row("nobody", "peers:surprise", needs=["no_such_peer"])'

def test_a_missing_peer_says_so(tmp_path):
    planted().to_csv(tmp_path/'ratings.csv', index=False)
    np.savez(tmp_path/'u1.npz', **cut(1000, 300))
    (tmp_path/'predictions').mkdir()
    code = f'import sys, protocol, rows; rows.ROWS.append({NOBODY}); protocol.main(*sys.argv[1:])'
    out = subprocess.run([sys.executable, '-c', code, 'u1', 'nobody', '0', tmp_path], capture_output=True, text=True,
                         cwd=BENCH, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert 'no_such_peer' in json.loads(out.stdout.splitlines()[-1])['missing'], out.stderr

def test_what_runs_in_the_peers_environment_needs_nothing_of_ours():
    code = 'import sys, protocol, peers, rows; print(*sys.modules)'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=BENCH, check=True)
    assert not {'collab_nb', 'fastai', 'torch'} & set(out.stdout.split())

def test_what_is_missing_and_what_failed_in_the_table():
    nobody = rows.row('nobody', 'peers:surprise')
    for said,want in (({'missing': 'No module named myfm'}, 'missing: No module named myfm'),
                      ({'failed': 'ValueError: a|b'}, 'failed: ValueError: a/b'), ({}, 'not run')):
        summary = report.summary_of(nobody, {('nobody', 'u1'): said})
        assert f'| nobody | ratings | {want} |  |' in record_table({'rows': [summary]})

@pytest.mark.parametrize('row, error', [
    (rows.row('ours', 'ours:means', group='ours', needs=['no_such_module']), ImportError),
    (rows.row('broken', 'peers:no_such_function'), AttributeError)])
def test_what_else_fails_is_a_failure(tmp_path, monkeypatch, row, error):
    "An `ImportError` is a missing peer only while a peer's needs are imported"
    monkeypatch.setattr(rows, 'ROWS', [row])
    toy(tmp_path, [])
    with pytest.raises(error): protocol.main('u1', row['name'], '0', tmp_path)

# Coverage, and the peers' features

def test_coverage_of_the_true_probabilities():
    rng = np.random.RandomState(0)
    probs = rng.dirichlet(np.ones(5), 20_000)
    stars = 1+(rng.rand(20_000, 1) > probs.cumsum(1)).sum(1)
    assert protocol.coverage(probs, stars)['inside'] == pytest.approx([.5, .8, .95], abs=.01)
    sure = np.eye(5)[stars-1]*.96+.008
    assert protocol.coverage(sure, stars)['nll'] == pytest.approx(-np.log(.968))

def test_coverage_here_and_in_the_library():
    "protocol.py runs where the library doesn't, so it has its own"
    rng = np.random.RandomState(0)
    probs,stars = rng.dirichlet(np.ones(5), 20_000),rng.randint(1, 6, 20_000)
    want = interval_coverage(star_places(probs, stars))
    np.testing.assert_allclose(protocol.coverage(probs, stars)['inside'], want, atol=.01)

def test_features_of_the_factorization_machine():
    "By hand: an id, who it met in training, scaled; nothing for an id that training never saw"
    train = pd.DataFrame({'user': [1, 1, 2], 'movie': [10, 11, 10]})
    test = pd.DataFrame({'user': [2, 3], 'movie': [11, 12]})
    X,sizes,at_train,at_test = peers.block(train, test, 'user', 'movie', True, [])
    assert sizes == [2, 2]
    assert np.allclose(X.toarray()[at_train], [[1, 0, .5**.5, .5**.5], [1, 0, .5**.5, .5**.5], [0, 1, 1, 0]])
    assert np.allclose(X.toarray()[at_test], [[0, 1, 1, 0], [0, 0, 0, 0]])

# Every function that a row of ours names, on what the row sees

OURS = sorted({(r['predict'].partition(':')[2], r['kind']) for r in rows.ROWS
               if r['predict'].startswith('ours:') and r.get('task') != 'lists'})
STEPS,CHAIN = dict(epochs=2, n_factors=3),dict(n_samples=2, burn_in=1, n_factors=3)
SHORT = {'factors': dict(epochs=1), 'plain_factors': STEPS, 'svdpp': STEPS, 'ladder': STEPS, 'five_seeds': STEPS,
         'sampled': CHAIN, 'blended': CHAIN}

@pytest.fixture
def predict(monkeypatch):
    "A function of ours with short settings; the blend has one short fit by gradient in place of its five"
    def call(name, kind, train, test):
        if name == 'blended': monkeypatch.setattr(ours, 'five_seeds', lambda *args: ours.ladder(*args, **STEPS))
        return protocol.predict(rows.row(name, f'ours:{name}', kind=kind), train, test, **SHORT.get(name, {}))
    return call

def enough(name):
    "How many ratings: fastai's own models take five epochs of small batches whatever we say"
    return 400 if name in ('fastai', 'mended') else 1500

@pytest.mark.parametrize('name, kind', OURS)
def test_ids_that_training_never_saw(predict, name, kind):
    ratings = planted(n=enough(name))
    train = ratings[(ratings.user != ratings.user[0]) & (ratings.movie != ratings.movie[0])]
    preds,_ = predict(name, kind, train, ratings[:200])
    assert len(preds) == 200 and preds.min() >= 1 and preds.max() <= 5

def asked(kind, n=1500):
    "Training rows, and test rows whose ids, and days if they count, are all in training"
    ratings = planted(n=n)
    train,test = ratings[n//4:],ratings[:n//4]
    test = test[test.user.isin(train.user) & test.movie.isin(train.movie)]
    if kind == 'day':
        days = pd.MultiIndex.from_frame(train[['user', 'timestamp']])
        test = test[pd.MultiIndex.from_frame(test[['user', 'timestamp']]).isin(days)]
    assert len(test) > 80
    return train,test

def same_start(whole, few):
    "What is predicted for a row depends on training and on the row, not on what else is asked"
    np.testing.assert_allclose(whole[0][:50], few[0], atol=1e-5)
    if few[1] is not None: np.testing.assert_allclose(whole[1][:50], few[1], atol=1e-5)

@pytest.mark.parametrize('name, kind', OURS)
def test_other_test_rows_change_nothing(predict, name, kind):
    train,test = asked(kind, enough(name))
    same_start(*(predict(name, kind, train, t) for t in (test, test[:50])))

MYFM,SURPRISE = dict(rank=2, n_iter=8),dict(n_factors=3, n_epochs=2)

@pytest.mark.parametrize('name, kind, settings', [
    ('myfm', 'ratings', MYFM), ('myfm_flipped', 'side', MYFM), ('myfm_ordinal', 'day', MYFM),
    ('myfm_user_day', 'day', MYFM), ('myfm_example', 'day', MYFM), ('myfm_example_ordinal', 'day', MYFM),
    ('surprise', 'ratings', SURPRISE), ('surprise_svdpp', 'ratings', SURPRISE)])
def test_other_test_rows_change_nothing_for_a_peer(name, kind, settings):
    "Where the peer is installed"
    pytest.importorskip(name.partition('_')[0])
    train,test = asked(kind)
    row = rows.row(name, f'peers:{name}', kind=kind)
    same_start(*(protocol.predict(row, train, t, **settings) for t in (test, test[:50])))

# The driver and the record, on a folder of their own

def test_the_quick_rows_hold_no_test_row(tmp_path, path):
    ratings = driver.prepare(tmp_path)
    quick,u1 = (np.load(tmp_path/f'{s}.npz') for s in ('quick', 'u1'))
    assert len(u1['test']) == 20_000 and len(u1['valid']) == 8000
    assert not np.isin(np.concatenate([quick['train'], quick['test']]), u1['test']).any()
    assert not np.isin(quick['train'], quick['test']).any()
    read = protocol.read_frame(tmp_path)
    assert read.user.equals(ratings.user) and read.zip_code.equals(ratings.zip_code.astype(read.zip_code.dtype))
    assert set(protocol.COLUMNS['day']) < set(read)
    assert not list(tmp_path.glob('part-*'))

MEANS = [rows.row('some', 'ours:means', group='ours', space={'level': [1, 2, 3]}, trials=2),
         rows.row('other', 'peers:means'), rows.row('floor', 'ours:global_mean', group='floor')]

def toy(folder, todo):
    "Ratings, five folds, and finished runs of `todo`: (row, split) pairs"
    ratings = planted()
    (folder/'predictions').mkdir(exist_ok=True)
    ratings.to_csv(folder/'ratings.csv', index=False)
    for k,s in enumerate(report.FOLDS, 1): np.savez(folder/f'{s}.npz', **driver.with_inner(fold_split(ratings, k)))
    for row,split in todo: report.append(folder, finished(row, split, folder))
    return ratings

def finished(row, split, folder):
    "A run that takes no time: everybody likes everything as training does on average, a little more from row to row"
    ratings = protocol.read_frame(folder)
    at = np.load(folder/f'{split}.npz')
    mean = ratings.rating[at['train']].mean() + .1*[r['name'] for r in MEANS].index(row['name'])
    preds = np.full(len(at['test']), mean)
    np.save(folder/'predictions'/f"{protocol.slug(row['name'])}-{split}.npy", preds)
    return {'row': row['name'], 'split': split, 'digest': protocol.digest(row), 'settings': {}, 'tried': [],
            'rmse': protocol.rmse(ratings.rating[at['test']], preds), 'valid': .9, 'trials': row['trials'],
            'cpu': 1., 'cpu_trials': 2., 'mb': 400}

def summary(folder, ratings, pairs=()):
    published = [dict(name='they', source='here', rmse=.9, sees='ratings', how='so')]
    return report.summarize(folder, ratings, MEANS, pairs, published, {})

def test_the_record_of_a_toy_folder(tmp_path):
    ratings = toy(tmp_path, [(r, s) for r in MEANS for s in report.FOLDS])
    res = summary(tmp_path, ratings, [('other', 'some'), ('other', 'nobody')])
    some,other,_ = res['rows']
    assert some['mean'] == pytest.approx(np.mean([some['rmse'][s] for s in report.FOLDS]), abs=1e-5)
    assert (some['trials'], some['cpu_trials'], some['mb']) == (2, 2, 400)
    want = protocol.rmse(ratings.rating[:300], ratings.rating[300:].mean())
    assert some['rmse']['u1'] == pytest.approx(want, abs=1e-5)
    got,none = res['pairs']
    assert got['u1'][0] == pytest.approx(other['rmse']['u1']-some['rmse']['u1'], abs=1e-5) and got['u1'][1] > 0
    assert got['random'] is None and none['u1'] is None
    text,u1 = record_table(res),f"{some['rmse']['u1']:.4f}{PM}{some['se_u1']:.4f}"
    line = f"| **some** | ratings | {u1} | {some['mean']:.4f} |  | 1.0 | 2 | 2 |"
    for cells in (line, '| 1.0 | 0 |  |', '| 1.0 |  |  |'):
        assert cells in text
    gains = gain_table(res)
    assert f"| other | some | {got['u1'][0]:+.4f}{PM}{got['u1'][1]:.4f} |" in gains and 'nobody' not in gains
    report.draw(res, tmp_path/'record.png')
    assert (tmp_path/'record.png').stat().st_size > 10_000 and not list(tmp_path.glob('part-*'))

def test_rows_that_were_used_for_choosing(tmp_path):
    "Against a slow loop: rows of u1's training part are test rows of u2 to u5"
    ratings = toy(tmp_path, [(MEANS[0], s) for s in report.FOLDS])
    said = summary(tmp_path, ratings)['rows'][0]['mean_unused']
    train = np.arange(300, 1500)
    by_user_and_movie = sorted(train, key=lambda i: (ratings.user[i], ratings.movie[i]))
    prototype = {by_user_and_movie[i] for i in np.random.RandomState(7).permutation(1200)[:120]}
    used = set(inner_split((train, []), n=120)[1]) | prototype
    squares = {}
    for k in range(1, 5):
        test = range(300*k, 300*k+300)
        mean = ratings.rating.drop(test).mean()
        squares.update({i: (ratings.rating[i]-mean)**2 for i in test})
    free = [v for i,v in squares.items() if i not in used]
    assert said['rows'] == len(free) == 1200-len(used)
    assert said['u2..u5'] == pytest.approx(np.sqrt(np.mean(list(squares.values()))), abs=1e-5)
    assert said['without rows used for choosing'] == pytest.approx(np.sqrt(np.mean(free)), abs=1e-5)

def test_a_record_of_few_folds_has_empty_cells(tmp_path):
    ratings = toy(tmp_path, [(MEANS[0], s) for s in ('u1', 'u3')])
    res = summary(tmp_path, ratings, [('other', 'some')])
    some,other,_ = res['rows']
    assert some['mean'] is some['cpu'] is some['mb'] is None and 'mean_unused' not in some
    assert set(some['rmse']) == {'u1', 'u3'} and 'rmse' not in other
    text = record_table(res)
    assert f"{PM}{some['se_u1']:.4f} |  |  |  | 2 |  |" in text and '| other | ratings | not run |' in text
    report.draw(res, tmp_path/'record.png')

def test_predictions_that_are_not_the_run_s_and_trials_that_differ(tmp_path):
    ratings = toy(tmp_path, [(MEANS[0], s) for s in report.FOLDS])
    report.append(tmp_path, {**finished(MEANS[0], 'u2', tmp_path), 'trials': 3})
    with pytest.raises(ValueError, match=r'\[2, 3\] trials'): summary(tmp_path, ratings)
    report.append(tmp_path, finished(MEANS[0], 'u2', tmp_path))
    summary(tmp_path, ratings)
    file = tmp_path/'predictions'/'some-u3.npy'
    np.save(file, np.load(file)+1e-6)
    with pytest.raises(ValueError, match="is not what 'some' predicted for u3"): summary(tmp_path, ratings)

def test_half_a_line_is_dropped(tmp_path):
    toy(tmp_path, [(MEANS[0], 'u1')])
    with open(tmp_path/'runs.jsonl', 'a') as f: f.write('{"row": "some", "spl')
    assert list(report.read_runs(tmp_path)) == [('some', 'u1')]
    report.append(tmp_path, finished(MEANS[0], 'u2', tmp_path))
    assert list(report.read_runs(tmp_path)) == [('some', 'u1'), ('some', 'u2')]
    assert 'spl"' not in (tmp_path/'runs.jsonl').read_text()

def test_the_digest_tells_a_changed_row():
    row = rows.row('some', 'ours:means', space={'a': (.1, 1.)}, trials=2)
    for same in ({**row, 'name': 'another', 'confirm': True, 'group': 'ours'}, json.loads(json.dumps(row))):
        assert protocol.digest(same) == protocol.digest(row)
    for change in (dict(trials=3), dict(space={'a': (.1, 2.)}), dict(kind='day'), dict(default={'a': 1}), dict(seeds=3),
                   dict(while_trying={'n': 1}), dict(predict='ours:global_mean'), dict(rung='x')):
        assert protocol.digest({**row, **change}) != protocol.digest(row)

@pytest.fixture
def driven(tmp_path, monkeypatch):
    "The driver on a toy folder where (some, u1) is finished: `run(...)`, what it ran, and which row fails"
    ratings,ran,bad = toy(tmp_path, [(MEANS[0], 'u1')]),[],{'floor'}
    def run_one(row, split, n_trials, folder, known=None):
        if split == 'lists': return {'row': row['name'], 'split': split, 'missing': 'lists'}
        ran.append((row['name'], split))
        res = {'row': row['name'], 'split': split}
        if row['name'] == 'other': return {**res, 'missing': 'No module named it'}
        return {**res, 'failed': 'oh'} if row['name'] in bad else finished(row, split, folder)
    names = dict(ROWS=MEANS, PAIRS=[('some', 'floor')], PUBLISHED=[], prepare=lambda folder: ratings, about=dict,
                 run_one=run_one, draw=lambda record, path: None)
    for name,v in names.items(): monkeypatch.setattr(driver, name, v)
    def run(**args):
        ran.clear()
        more = {'quick': False, 'rows': '', 'splits': '', 'again': '', 'jobs': 1, 'fresh': True}
        args = argparse.Namespace(**more | args)
        return driver.run(args, tmp_path, tmp_path/'the_record.json')
    return run,ran,bad

def test_the_driver_scores_nothing_twice(driven, tmp_path, monkeypatch, capsys):
    run,ran,bad = driven
    assert run(splits='u1,u2') == 1
    assert ran == [('other', 'u1'), ('floor', 'u1'), ('some', 'u2'), ('other', 'u2'), ('floor', 'u2')]
    assert 'not there yet: floor on u1 and ' in capsys.readouterr().out
    assert (tmp_path/'record.json').exists() and not (tmp_path/'the_record.json').exists()
    bad.clear()
    assert run() == 0     # what failed is tried again, and what was missing
    assert ('some', 'u1') not in ran and {('floor', 'u1'), ('some', 'u5')} < set(ran)
    assert 'not there yet' not in capsys.readouterr().out
    assert json.loads((tmp_path/'the_record.json').read_text())['pairs'][0]['folds']
    assert run() == 0 and {row for row,_ in ran} == {'other'}
    monkeypatch.setattr(driver, 'ROWS', [{**MEANS[0], 'trials': 3}, *MEANS[1:]])
    with pytest.raises(SystemExit, match=r"'some' has changed since u1 was run. --again \"some\""): run()
    with pytest.raises(SystemExit, match='changed since u2'): run(again='some', splits='u1')
    assert ran == []
    assert run(again='some', rows='some') == 0 and ran == [('some', s) for s in report.FOLDS]

def test_two_drivers_do_not_share_a_folder(tmp_path):
    with driver.alone(tmp_path):
        with pytest.raises(SystemExit, match='lock is there.*delete that file'):
            with driver.alone(tmp_path): pass
    with driver.alone(tmp_path): pass

def test_names_are_unique_and_pairs_are_rows():
    names = [r['name'] for r in rows.ROWS]
    assert len({protocol.slug(n) for n in names}) == len(names)
    assert {n for pair in rows.PAIRS for n in pair} <= set(names)
    assert all(r['kind'] in protocol.COLUMNS and (r['space'] or 'tries' in r or r['trials'] == 0) for r in rows.ROWS)

def test_readme_holds_the_record():
    record = read_record(RECORD)
    assert [r['name'] for r in record['rows']] == [r['name'] for r in rows.ROWS], 'rows changed: make bench'
    assert [r['digest'] for r in record['rows']] == [protocol.digest(r) for r in rows.ROWS], 'rows changed: make bench'
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    assert headline(record) in readme, 'README has other rows: make prepare'

def test_no_best_trial_of_a_peer_is_at_an_edge():
    "Where it was in the record, the search went on until it wasn't, or there was no next value"
    for old,row in zip(read_record(RECORD)['rows'], rows.ROWS, strict=True):
        if 'wider' not in row or 'rmse' not in old: continue
        stored = report.stored_runs({'rows': [old]}, [row])
        assert not [s for (_,s),run in stored.items() if 'known' in run], f'make bench: {row["name"]} is at an edge'

# Lists

def test_ndcg_is_the_library_s():
    "On scores without ties, and with a held-out movie that training doesn't know"
    train,test = planted(n=600).iloc[:400],planted(n=600).iloc[400:]
    test = test[test.user.isin(train.user)]
    users,movies = np.unique(test.user),np.unique(train.movie)
    assert not set(test.movie) <= set(movies)
    scores = np.random.RandomState(0).rand(len(users), len(movies))
    want = evaluate(Scores(users.tolist(), movies.tolist(), scores), test, train, k=10).ndcg.to_numpy()
    np.testing.assert_allclose(protocol.ndcg(scores, train, test, users), want, atol=1e-6)

def test_equal_scores_are_sorted_at_random():
    train,test = planted().iloc[:1200],planted().iloc[1200:]
    test = test[test.user.isin(train.user)]
    users = np.unique(test.user)
    flat = np.zeros((len(users), train.movie.nunique()))
    said = [protocol.ndcg(flat, train, test, users, seed=s).mean() for s in range(3)]
    assert len(set(said)) == 3 and max(said) < .5

def test_a_row_of_lists_is_chosen_by_its_lists(monkeypatch):
    "Popular movies first, or last; its trials are scored by NDCG on the inner rows"
    def by_count(train, test, seed, sign): return sign*test.movie.map(train.movie.value_counts()).fillna(0).to_numpy()
    monkeypatch.setattr(ours, 'popularity', by_count)
    row = rows.row('some', 'ours:popularity', task='lists', space={'sign': [-1, 1]}, trials=2, default={'sign': -1})
    ratings = planted(n_items=90)
    res,preds = protocol.run(row, ratings, cut(len(ratings), 300), 2, 'lists')
    assert res['settings'] == {'sign': 1} and res['trials'] == 2 and 0 < res['ndcg'][0] < 1 and len(preds) == 300
    assert res['valid'] == min(error for error,_ in res['tried']) < 0

def test_lists_and_stars_come_from_one_fit(monkeypatch):
    "A model of stars is fitted once; what it predicts for the test rows is what it is scored on"
    fits = []
    def of_movie(train, test, seed):
        fits.append(len(test))
        return test.movie.map(train.groupby('movie').rating.mean()).fillna(3).to_numpy()
    monkeypatch.setattr(ours, 'means', of_movie)
    ratings,splits = planted(),cut(1500, 300)
    row = rows.row('some', 'ours:means')
    train,test = (ratings.iloc[splits[k]] for k in ('train', 'test'))
    res,preds = protocol.listed(row, train, test, {})
    assert len(fits) == 1 and fits[0] > 300
    want = protocol.rmse(test.rating, protocol.predict(row, train, test)[0])
    assert res['rmse_again'] == pytest.approx(want) and protocol.rmse(test.rating, preds) == pytest.approx(want)

def test_which_rows_make_lists():
    listed = {row['name'] for row,split in report.asked(rows.ROWS) if split == 'lists'}
    assert {'popularity', 'iALS (chapter 09)', 'EASE (chapter 09)', 'SVD++ flipped', 'blend + side'} <= listed
    assert not {'global mean', 'blend + side + day'} & listed
    assert not any(row.get('task') == 'lists' for row,split in report.asked(rows.ROWS) if split != 'lists')

# More trials where the best one is at an edge

WIDE = rows.row('wide', 'ours:means', space={'level': [2, 3]}, trials=2, default={'level': 2},
                wider={'level': [1, 2, 3, 4, 5]})

def constant(train, test, seed, level): return np.full(len(test), float(level))

def test_the_search_goes_on_from_an_edge(monkeypatch):
    monkeypatch.setattr(ours, 'means', constant)
    for rating,best,n in ((4, 4, 4), (5, 5, 4), (1, 1, 3)):     # 2, 3, then 4 and 5; 2, 3, then 1
        res,_ = protocol.run(WIDE, planted().assign(rating=rating), cut(1000, 300), 2)
        assert (res['settings'], res['trials']) == ({'level': best}, n)
    narrow = {k: v for k,v in WIDE.items() if k != 'wider'}
    assert protocol.run(narrow, planted().assign(rating=5), cut(1000, 300), 2)[0]['settings'] == {'level': 3}

def test_a_search_that_goes_on_from_a_record(monkeypatch):
    monkeypatch.setattr(ours, 'means', constant)
    ratings,at = planted().assign(rating=5),cut(1000, 300)
    known = {'settings': {'level': 3}, 'valid': 2.}
    with pytest.raises(ValueError, match='must come out again as 9, got 2'):
        protocol.run(WIDE, ratings, at, 2, 'u1', {**known, 'valid': 9})
    res,_ = protocol.run(WIDE, ratings, at, 2, 'u1', known)
    assert (res['settings'], res['more_trials'], res['rmse']) == ({'level': 5}, 2, 0)
    res,preds = protocol.run(WIDE, ratings.assign(rating=3), at, 2, 'u1', {**known, 'valid': 0.})
    assert preds is None and res['more_trials'] == 1 and 'rmse' not in res

def test_a_record_that_is_kept_and_grows(tmp_path):
    "One fold finds something better, one doesn't; the others, and another row, stay as they are"
    row = {**MEANS[0], 'wider': {'level': [1, 2, 3, 4]}, 'default': {'level': 1}, 'trials': 3}
    ratings = toy(tmp_path, [(r, s) for r in (row, MEANS[2]) for s in report.FOLDS])
    made = [row, MEANS[2]]
    old = report.summarize(tmp_path, ratings, made, [('floor', 'some')], [], {})
    old['rows'][0]['settings'] = {s: {'level': 3 if s in ('u1', 'u2') else 2} for s in report.FOLDS}
    stored = report.stored_runs(old, made)
    assert {s for (_,s),run in stored.items() if 'known' in run} == {'u1', 'u2'}
    (tmp_path/'runs.jsonl').unlink()
    better = {**finished(MEANS[0], 'u1', tmp_path), 'settings': {'level': 4}, 'tried': [1, 2], 'more_trials': 1,
              'cpu_more': 5., 'cpu_best': 3.}
    preds = np.load(tmp_path/'predictions'/'some-u1.npy')+.01
    np.save(tmp_path/'predictions'/'some-u1.npy', preds)
    better['rmse'] = protocol.rmse(ratings.rating[np.load(tmp_path/'u1.npz')['test']], preds)
    none = {k: better[k] for k in ('row', 'digest', 'more_trials', 'cpu_more')} | {'split': 'u2', 'cpu_best': 1.}
    for run in (better, none): report.append(tmp_path, run)
    new = report.summarize(tmp_path, ratings, made, [('floor', 'some')], [], {}, old)
    was,now = old['rows'][0],new['rows'][0]
    assert now['grown'] == ['u1', 'u2'] and now['trials'] == was['trials']+1
    assert (now['cpu'], now['cpu_trials']) == (1, 2) and now['valid'][0] == .9
    assert now['settings'] == {**was['settings'], 'u1': {'level': 4}}
    assert now['rmse']['u1'] == pytest.approx(better['rmse']) and now['rmse']['u2'] == was['rmse']['u2']
    assert new['rows'][1] == old['rows'][1]
    assert new['pairs'][0]['folds'] is None       # predictions of the other folds are gone, and one has changed
    assert all(report.is_done(run) for run in report.all_runs(tmp_path, new, made).values())
    again = report.summarize(tmp_path, ratings, made, [('floor', 'some')], [], {}, new)
    assert again['rows'] == new['rows']           # what the record has counted isn't counted twice

def test_what_is_not_a_record(tmp_path):
    (tmp_path/'r.json').write_text('{}')
    for name in ('r.json', 'none.json'):
        with pytest.raises(ValueError, match='is not a record'): read_record(tmp_path/name)
