"The bench: it chooses without a look at test rows, tells a missing peer, counts its errors right, and README holds its table."
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

RECORD = ROOT/'collab_nb'/'record.json'

def planted(n_users=60, n_items=40, n=1500, seed=0):
    "Ratings with every column that a row may see"
    from collab_nb.synth import synth_ratings
    ratings,rng = synth_ratings(n_users, n_items, n, noise=.3, seed=seed),np.random.RandomState(seed)
    users,movies = ratings.user.astype('category').cat.codes.to_numpy(),ratings.movie.astype('category').cat.codes.to_numpy()
    return pd.DataFrame({'user': ratings.user, 'movie': ratings.movie, 'rating': ratings.rating.round().clip(1, 5).astype(int), 'timestamp': rng.randint(0, 30, len(ratings))*86400,
                         'age': rng.randint(15, 60, 99)[users], 'gender': rng.choice(['F', 'M'], 99)[users], 'occupation': rng.choice(['writer', 'artist'], 99)[users],
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
    row = rows.row('nobody', 'peers:surprise')
    said = report.summary_of(row, {('nobody', 'u1'): {'missing': "ModuleNotFoundError: No module named 'no_such_peer'"}}, None)
    assert '| nobody | ratings | missing: ModuleNotFoundError' in report.table({'rows': [said], 'published': []})

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

def test_the_course_s_rows_predict_ids_that_training_never_saw():
    ratings = planted()
    train,test = ratings[ratings.user != ratings.user[0]],ratings[:200]
    for name in ('means', 'factors'):
        preds,_ = protocol.predict(rows.row(name, f'ours:{name}'), train, test)
        assert preds.min() >= 1 and preds.max() <= 5

def test_names_are_unique_and_pairs_are_rows():
    names = [r['name'] for r in rows.ROWS]
    assert len({protocol.slug(n) for n in names}) == len(names) and {n for pair in rows.PAIRS for n in pair} <= set(names)
    assert all(r['kind'] in protocol.COLUMNS and (r['space'] or 'tries' in r or r['trials'] == 0) for r in rows.ROWS)

@pytest.mark.skipif(not RECORD.exists(), reason='no record yet: make bench')
def test_readme_holds_the_record():
    record = json.loads(RECORD.read_text(encoding='utf-8'))
    assert [r['name'] for r in record['rows']] == [r['name'] for r in rows.ROWS], 'rows changed: make bench'
    assert report.table(record) in (ROOT/'README.md').read_text(encoding='utf-8'), 'README quotes another record: python tests/bench --table'
