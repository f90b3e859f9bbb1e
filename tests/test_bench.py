"The bench: it chooses without a look at test rows, scores them once, tells a missing peer, counts its errors right, and README holds its table."
import argparse
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT/'tests'/'bench'))
import ours
import peers
import protocol
import report
import rows

spec = importlib.util.spec_from_file_location('bench_driver', ROOT/'tests'/'bench'/'__main__.py')
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)

RECORD = ROOT/'collab_nb'/'record.json'

def planted(n_users=60, n_items=40, n=1500, seed=0):
    "Ratings with every column that a row may see"
    from collab_nb.synth import synth_ratings
    ratings,rng = synth_ratings(n_users, n_items, n, noise=.3, seed=seed),np.random.RandomState(seed)
    users,movies = ratings.user.astype('category').cat.codes.to_numpy(),ratings.movie.astype('category').cat.codes.to_numpy()
    return pd.DataFrame({'user': ratings.user, 'movie': ratings.movie, 'rating': ratings.rating.round().clip(1, 5).astype(int), 'timestamp': rng.randint(0, 30, len(ratings))*86400,
                         'age': rng.randint(15, 60, 99)[users], 'gender': rng.choice(['F', 'M'], 99)[users], 'occupation': rng.choice(['writer', 'artist'], 99)[users],
                         'zip_code': rng.choice(['94043', '01002', 'V5A2B'], 99)[users],
                         'year': rng.randint(1930, 1999, 99)[movies], 'genres': rng.choice(['Drama', 'Drama|War'], 99)[movies]})

def test_the_inner_split_stays_inside_training():
    train,test = np.arange(20, 100),np.arange(20)
    fit,valid = protocol.inner_split((train, test), n=8)
    assert len(valid) == 8 and np.array_equal(np.union1d(fit, valid), train) and not np.intersect1d(fit, valid).size
    assert np.array_equal(train[np.sort(np.random.RandomState(7).permutation(80)[:8])], valid)

def test_trials_are_the_default_and_random_ones_and_no_two_alike():
    row = rows.row('some', 'ours:means', default={'rank': 1}, space={'rank': [2, 3, 4], })
    assert protocol.trials(row, 0) == [] and protocol.trials(row, 1) == [{'rank': 1}]
    assert sorted(t['rank'] for t in protocol.trials(row, 4)) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match='fewer than 5'): protocol.trials(row, 5)
    for r in rows.ROWS: assert 'tries' in r or len(protocol.trials(r, r['trials'])) == r['trials']
    assert all(.01 <= protocol.draw({'wd': (.01, .1)}, np.random.RandomState(i))['wd'] <= .1 for i in range(20))

def test_a_row_sees_what_its_kind_says_and_no_test_rating(monkeypatch):
    seen = []
    def spy(train, test, seed, **settings):
        seen.append((set(train), set(test), len(train), settings))
        return np.full(len(test), 9.)
    monkeypatch.setattr(ours, 'means', spy)
    ratings = planted()
    n = len(ratings)
    splits = np.arange(n//5, n),np.arange(n//5)
    for kind,more in protocol.COLUMNS.items():
        seen.clear()
        res,preds = protocol.run(rows.row('some', 'ours:means', kind=kind, space={'a': [1, 2, 3]}), ratings, splits, n_trials=2)
        assert [s[0] for s in seen] == [{'user', 'movie', 'rating', *more}]*3 and [s[1] for s in seen] == [{'user', 'movie', *more}]*3
        assert seen[0][2] == seen[1][2] < seen[2][2] == len(splits[0])                  # two trials on the inner rows, then all of the training part
        assert (preds == 5).all() and res['rmse'] == protocol.rmse(ratings.rating[:n//5], 5) and res['trials'] == 2

def test_the_best_trial_is_frozen(monkeypatch):
    monkeypatch.setattr(ours, 'means', lambda train, test, seed, level=1: np.full(len(test), level))
    ratings = planted().assign(rating=4)
    res,preds = protocol.run(rows.row('some', 'ours:means', space={'level': [2, 3, 4]}), ratings, (np.arange(300, 1000), np.arange(300)), n_trials=4)
    assert res['settings'] == {'level': 4} and (preds == 4).all() and res['valid'] == res['rmse'] == 0 and len(res['tried']) == 4

def test_quick_holds_out_no_test_row():
    splits = np.arange(20_000, 100_000),np.arange(20_000)
    assert np.intersect1d(np.concatenate(protocol.inner_split(splits, seed=8)), splits[1]).size == 0

def test_a_missing_peer_says_so(tmp_path):
    planted().to_csv(tmp_path/'ratings.csv', index=False)
    np.savez(tmp_path/'u1.npz', train=np.arange(300, 1000), test=np.arange(300))
    (tmp_path/'predictions').mkdir()
    code = 'import sys, protocol, rows; rows.ROWS.append(rows.row("nobody", "peers:surprise", needs=["no_such_peer"])); protocol.main(*sys.argv[1:])'
    out = subprocess.run([sys.executable, '-c', code, 'u1', 'nobody', '0', tmp_path], capture_output=True, text=True, cwd=ROOT/'tests'/'bench', env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert 'no_such_peer' in json.loads(out.stdout.splitlines()[-1])['missing'], out.stderr

def test_what_is_missing_and_what_failed(tmp_path, monkeypatch):
    "An `ImportError` is a missing peer only while a peer's needs are imported"
    table = lambda said: report.table({'rows': [report.summary_of(rows.row('nobody', 'peers:surprise'), {('nobody', 'u1'): said})], 'published': []})
    assert '| nobody | ratings | missing: No module named myfm | |' in table({'missing': 'No module named myfm'})
    assert '| nobody | ratings | failed: ValueError: a/b | |' in table({'failed': 'ValueError: a|b'}) and '| not run |' in report.table({'rows': [report.summary_of(rows.ROWS[0], {})], 'published': []})
    monkeypatch.setattr(rows, 'ROWS', [rows.row('ours', 'ours:means', group='ours', needs=['no_such_module']), rows.row('broken', 'peers:no_such_function')])
    for name,error in (('ours', ImportError), ('broken', AttributeError)):
        toy(tmp_path, [])
        with pytest.raises(error): protocol.main('u1', name, '0', tmp_path)

def test_paired_gain_agrees_with_the_bootstrap_over_users():
    rng = np.random.RandomState(0)
    users = rng.randint(0, 200, 6000)
    y,shift = rng.randn(6000),.3*rng.randn(200)[users]
    a,b = y+shift+.8*rng.randn(6000),y+.5*shift+.8*rng.randn(6000)
    gain,se = report.paired_gain(y, a, b, users)
    assert gain == pytest.approx(np.sqrt(((y-a)**2).mean())-np.sqrt(((y-b)**2).mean()))
    of = [np.flatnonzero(users == u) for u in range(200)]
    draws = [report.paired_gain(y[i], a[i], b[i], users[i])[0] for i in (np.concatenate([of[u] for u in rng.randint(0, 200, 200)]) for _ in range(400))]
    assert se == pytest.approx(np.std(draws), rel=.15)
    assert report.paired_gain(y, a, a, users+7) == (0, 0)

def test_coverage_of_the_true_probabilities():
    rng = np.random.RandomState(0)
    probs = rng.dirichlet(np.ones(5), 20_000)
    stars = 1+(rng.rand(20_000, 1) > probs.cumsum(1)).sum(1)
    assert protocol.coverage(probs, stars)['inside'] == pytest.approx([.5, .8, .95], abs=.01)
    sure = np.eye(5)[stars-1]*.96+.008
    assert protocol.coverage(sure, stars)['nll'] == pytest.approx(-np.log(.968))

def test_features_of_the_factorization_machine():
    "Against a slow loop: an id, whom it met in training alone, scaled; nothing for an id that training never saw"
    pytest.importorskip('scipy')
    train = pd.DataFrame({'user': [1, 1, 2], 'movie': [10, 11, 10]})
    test = pd.DataFrame({'user': [2, 3], 'movie': [11, 12]})
    X,sizes,at_train,at_test = peers.block(train, test, 'user', 'movie', True, [])
    assert sizes == [2, 2]
    assert np.allclose(X.toarray()[at_train], [[1, 0, .5**.5, .5**.5], [1, 0, .5**.5, .5**.5], [0, 1, 1, 0]])
    assert np.allclose(X.toarray()[at_test], [[0, 1, 1, 0], [0, 0, 0, 0]])

SHORT = {'means': {}, 'factors': dict(epochs=1), 'ladder': dict(epochs=2, n_factors=3), 'five_seeds': dict(epochs=2, n_factors=3),
         'sampled': dict(n_samples=2, burn_in=1, n_factors=3), 'blended': dict(n_samples=2, burn_in=1, n_factors=3)}

def quickly(monkeypatch):
    "The blend's five fits by gradient, too"
    five = ours.five_seeds
    monkeypatch.setattr(ours, 'five_seeds', lambda *args, **settings: five(*args, **{**SHORT['five_seeds'], **settings}))

@pytest.mark.parametrize('kind', ['ratings', 'side', 'day'])
@pytest.mark.parametrize('name', SHORT)
def test_the_course_s_rows_predict_ids_that_training_never_saw(name, kind, monkeypatch):
    quickly(monkeypatch)
    ratings = planted()
    train,test = ratings[(ratings.user != ratings.user[0]) & (ratings.movie != ratings.movie[0])],ratings[:200]
    preds,_ = protocol.predict(rows.row(name, f'ours:{name}', kind=kind), train, test, **SHORT[name])
    assert len(preds) == 200 and preds.min() >= 1 and preds.max() <= 5

def other_test_rows_change_nothing(row, settings):
    "What is predicted for a row hangs on training and on the row, not on what else is asked; all ids are in training"
    ratings = planted()
    train,test = ratings[400:],ratings[:400]
    test = test[test.user.isin(train.user) & test.movie.isin(train.movie)]
    if row['kind'] == 'day':
        days = lambda f: list(zip(f.user, f.timestamp))
        test = test[[d in set(days(train)) for d in days(test)]]
    assert len(test) > 100
    all_of,few = (protocol.predict(row, train, t, **settings) for t in (test, test[:50]))
    np.testing.assert_allclose(all_of[0][:50], few[0], atol=1e-5)
    if few[1] is not None: np.testing.assert_allclose(all_of[1][:50], few[1], atol=1e-5)

@pytest.mark.parametrize('kind', ['ratings', 'side', 'day'])
@pytest.mark.parametrize('name', SHORT)
def test_other_test_rows_change_nothing(name, kind, monkeypatch):
    quickly(monkeypatch)
    other_test_rows_change_nothing(rows.row(name, f'ours:{name}', kind=kind), SHORT[name])

@pytest.mark.parametrize('name,kind', [('myfm', 'ratings'), ('myfm_flipped', 'side'), ('myfm_ordinal', 'day'), ('myfm_user_day', 'day'), ('myfm_example', 'day'), ('myfm_example_ordinal', 'day')])
def test_other_test_rows_change_nothing_for_myfm(name, kind):
    pytest.importorskip('myfm')
    other_test_rows_change_nothing(rows.row(name, f'peers:{name}', kind=kind), dict(rank=2, n_iter=8))

@pytest.mark.parametrize('name', ['surprise', 'surprise_svdpp'])
def test_other_test_rows_change_nothing_for_surprise(name):
    pytest.importorskip('surprise')
    other_test_rows_change_nothing(rows.row(name, f'peers:{name}'), dict(n_factors=3, n_epochs=2))

def test_protocol_and_library_say_the_same():
    "protocol.py runs where the library does not, so it has its own"
    from collab_nb.record import inner_split
    from collab_nb.sampler import interval_coverage,star_places
    splits = np.arange(20_000, 100_000),np.arange(20_000)
    for a,b in zip(protocol.inner_split(splits), inner_split(splits)): np.testing.assert_array_equal(a, b)
    rng = np.random.RandomState(0)
    probs,stars = rng.dirichlet(np.ones(5), 20_000),rng.randint(1, 6, 20_000)
    np.testing.assert_allclose(protocol.coverage(probs, stars)['inside'], interval_coverage(star_places(probs, stars)), atol=.01)

def test_the_quick_rows_hold_no_test_row(tmp_path):
    ratings = driver.prepare(tmp_path)
    quick,u1 = (np.load(tmp_path/f'{s}.npz') for s in ('quick', 'u1'))
    assert len(u1['test']) == 20_000 and not np.isin(np.concatenate([quick['train'], quick['test']]), u1['test']).any() and not np.isin(quick['train'], quick['test']).any()
    read = protocol.read_frame(tmp_path)
    assert read.user.equals(ratings.user) and read.zip_code.equals(ratings.zip_code.astype(read.zip_code.dtype)) and set(protocol.COLUMNS['day']) < set(read)
    assert not list(tmp_path.glob('part-*'))

# The driver and the record, on a folder of their own

MEANS = [rows.row('some', 'ours:means', group='ours', space={'level': [1, 2, 3]}, trials=2), rows.row('other', 'peers:means'), rows.row('floor', 'ours:global_mean', group='floor')]

def toy(folder, todo, ratings=None):
    "Ratings, five folds, and finished runs of `todo`: (row, split) pairs"
    from collab_nb.data import fold_split
    ratings = planted() if ratings is None else ratings
    (folder/'predictions').mkdir(exist_ok=True)
    ratings.to_csv(folder/'ratings.csv', index=False)
    for k,s in enumerate(report.FOLDS, 1):
        train,test = fold_split(ratings, k)
        np.savez(folder/f'{s}.npz', train=train, test=test)
    for row,split in todo: report.append(folder, finished(row, split, folder))
    return ratings

def finished(row, split, folder):
    "A run that takes no time: everybody likes everything as training does on average, a little more from row to row"
    ratings = protocol.read_frame(folder)
    at = np.load(folder/f'{split}.npz')
    preds = np.full(len(at['test']), ratings.rating[at['train']].mean() + .1*[r['name'] for r in MEANS].index(row['name']))
    np.save(folder/'predictions'/f"{protocol.slug(row['name'])}-{split}.npy", preds)
    return {'row': row['name'], 'split': split, 'digest': protocol.digest(row), 'rmse': protocol.rmse(ratings.rating[at['test']], preds), 'valid': .9, 'settings': {}, 'trials': row['trials'],
            'cpu': 1., 'cpu_trials': 2., 'mb': 400, 'tried': []}

def summary(folder, ratings, pairs=()): return report.summarize(folder, ratings, MEANS, pairs, [dict(name='they', source='here', rmse=.9, sees='ratings', how='so')], {})

def test_the_record_of_a_toy_folder(tmp_path):
    ratings = toy(tmp_path, [(r, s) for r in MEANS for s in report.FOLDS])
    res = summary(tmp_path, ratings, [('other', 'some'), ('other', 'nobody')])
    some,other,floor = res['rows']
    assert some['mean'] == pytest.approx(np.mean([some['rmse'][s] for s in report.FOLDS]), abs=1e-5) and (some['trials'], some['cpu_trials'], some['mb']) == (2, 2, 400)
    y = ratings.rating[:300]
    assert some['rmse']['u1'] == pytest.approx(protocol.rmse(y, ratings.rating[300:].mean()), abs=1e-5)
    got,none = res['pairs']
    assert got['u1'][0] == pytest.approx(other['rmse']['u1']-some['rmse']['u1'], abs=1e-5) and got['u1'][1] > 0 and got['random'] is None and none['u1'] is None
    text = report.table(res)
    for cells in (f"| **some** | ratings | {some['rmse']['u1']:.4f} ± {some['se_u1']:.4f} | {some['mean']:.4f} | | 1.0 | 2, 2 | 400 |", '| 1.0 | none | 400 |', '| 1.0 | | 400 |', '| they (here) |'):
        assert cells.replace('| |', '|  |') in text
    assert f"| other | some | {got['u1'][0]:+.4f} ± {got['u1'][1]:.4f} |" in report.gains(res) and 'nobody' not in report.gains(res)
    report.draw(res, tmp_path/'record.png')
    assert (tmp_path/'record.png').stat().st_size > 10_000 and not list(tmp_path.glob('part-*'))

def test_rows_that_were_used_for_choosing(tmp_path):
    "Against a slow loop: rows of u1's training part are test rows of u2 to u5"
    ratings = toy(tmp_path, [(MEANS[0], s) for s in report.FOLDS])
    said = summary(tmp_path, ratings)['rows'][0]['mean_unused']
    train = np.arange(300, 1500)
    by_user_and_film = sorted(train, key=lambda i: (ratings.user[i], ratings.movie[i]))
    used = set(protocol.inner_split((train, []), n=120)[1]) | {by_user_and_film[i] for i in np.random.RandomState(7).permutation(1200)[:120]}
    squares = {}
    for k in range(1, 5):
        test = range(300*k, 300*k+300)
        mean = ratings.rating.drop(test).mean()
        squares.update({i: (ratings.rating[i]-mean)**2 for i in test})
    assert said['rows'] == 1200-len(used) and said['u2..u5'] == pytest.approx(np.sqrt(np.mean(list(squares.values()))), abs=1e-5)
    assert said['without rows used for choosing'] == pytest.approx(np.sqrt(np.mean([v for i,v in squares.items() if i not in used])), abs=1e-5)

def test_a_record_of_few_folds_has_empty_cells(tmp_path):
    ratings = toy(tmp_path, [(MEANS[0], s) for s in ('u1', 'u3')])
    res = summary(tmp_path, ratings, [('other', 'some')])
    some,other,_ = res['rows']
    assert some['mean'] is some['cpu'] is some['mb'] is None and 'mean_unused' not in some and set(some['rmse']) == {'u1', 'u3'} and 'rmse' not in other
    assert f"± {some['se_u1']:.4f} |  |  |  | 2 |  |" in report.table(res) and '| other | ratings | not run |' in report.table(res)
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
    assert list(report.read_runs(tmp_path)) == [('some', 'u1'), ('some', 'u2')] and 'spl"' not in (tmp_path/'runs.jsonl').read_text()

def test_the_digest_tells_a_changed_row():
    row = rows.row('some', 'ours:means', space={'a': (.1, 1.)}, trials=2)
    assert protocol.digest({**row, 'name': 'another', 'confirm': True, 'group': 'ours'}) == protocol.digest(row) == protocol.digest(json.loads(json.dumps(row)))
    for change in (dict(trials=3), dict(space={'a': (.1, 2.)}), dict(kind='day'), dict(default={'a': 1}), dict(seeds=3), dict(while_trying={'n': 1}), dict(predict='ours:global_mean'), dict(rung='x')):
        assert protocol.digest({**row, **change}) != protocol.digest(row)

def test_the_driver_scores_nothing_twice(tmp_path, monkeypatch, capsys):
    ratings,ran = toy(tmp_path, [(MEANS[0], 'u1')]),[]
    def run_one(row, split, n_trials, folder):
        ran.append((row['name'], split))
        return {'row': row['name'], 'split': split, 'missing': 'No module named it'} if row['name'] == 'other' else {'row': 'floor', 'split': split, 'failed': 'oh'} if row['name'] == bad else finished(row, split, folder)
    for name,v in dict(ROWS=MEANS, PAIRS=[('some', 'floor')], PUBLISHED=[], prepare=lambda folder: ratings, about=dict, run_one=run_one).items(): monkeypatch.setattr(driver, name, v)
    def run(**more):
        ran.clear()
        return driver.run(argparse.Namespace(**{'quick': False, 'rows': '', 'splits': '', 'again': '', **more}), tmp_path, tmp_path/'the_record.json')
    bad = 'floor'
    assert run(splits='u1,u2') == 1 and ran == [('other', 'u1'), ('floor', 'u1'), ('some', 'u2'), ('other', 'u2'), ('floor', 'u2')]
    assert 'not there yet: floor on u1' in capsys.readouterr().out and (tmp_path/'record.json').exists() and not (tmp_path/'the_record.json').exists()
    bad = ''
    assert run() == 0 and ('some', 'u1') not in ran and ('floor', 'u1') in ran and ('some', 'u5') in ran        # what failed is tried again, and what was missing
    assert 'not there yet' not in capsys.readouterr().out and json.loads((tmp_path/'the_record.json').read_text())['pairs'][0]['folds']
    assert run() == 0 and {row for row,_ in ran} == {'other'}
    monkeypatch.setattr(driver, 'ROWS', [{**MEANS[0], 'trials': 3}, *MEANS[1:]])
    with pytest.raises(SystemExit, match=r"'some' has changed since u1 was run. --again \"some\""): run()
    with pytest.raises(SystemExit, match='changed since u2'): run(again='some', splits='u1')
    assert ran == [] and run(again='some', rows='some') == 0 and ran == [('some', s) for s in report.FOLDS]

def test_two_drivers_do_not_share_a_folder(tmp_path):
    with driver.alone(tmp_path):
        with pytest.raises(SystemExit, match='lock is there.*delete that file'):
            with driver.alone(tmp_path): pass
    with driver.alone(tmp_path): pass

def test_names_are_unique_and_pairs_are_rows():
    names = [r['name'] for r in rows.ROWS]
    assert len({protocol.slug(n) for n in names}) == len(names) and {n for pair in rows.PAIRS for n in pair} <= set(names)
    assert all(r['kind'] in protocol.COLUMNS and (r['space'] or 'tries' in r or r['trials'] == 0) for r in rows.ROWS)

def test_readme_holds_the_record():
    record = json.loads(RECORD.read_text(encoding='utf-8'))
    assert [r['name'] for r in record['rows']] == [r['name'] for r in rows.ROWS], 'rows changed: make bench'
    assert report.table(record) in (ROOT/'README.md').read_text(encoding='utf-8'), 'README quotes another record: python tests/bench --table'
