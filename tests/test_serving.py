"The kinds of recommender: the same verbs, the same ten items everywhere, no PyTorch, and never silently wrong."
import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT,polars_frame

from collab_nb.serving import (ImplicitRecommender,ItemRecommender,KnownRatings,Recommender,RecommenderError,
                               StarRecommender,has_genre,with_title)

N,M = 40,60

def frame(user, movie, rating, **more): return pd.DataFrame({'user': user, 'movie': movie, 'rating': rating, **more})

@pytest.fixture(scope='module')
def table():
    rng = np.random.default_rng(0)
    cells = rng.permutation(N*M)[:700]
    return frame([f'u{c//M}' for c in cells], (cells%M).tolist(), rng.integers(1, 6, len(cells)))

USERS,ITEMS = [f'u{r}' for r in range(N)],list(range(M))

def make(kind, table):
    rng = np.random.default_rng(1)
    P,Q = rng.normal(size=(N, 6))/2,rng.normal(size=(M, 6))/2
    titles = {i: f'Movie {i}' for i in ITEMS}
    if kind == 'stars':
        return Recommender.from_factors(P, Q, USERS, ITEMS, user_bias=rng.normal(size=N)/3, y_range=(0, 5.5),
                                        titles=titles, item_bias=rng.normal(size=M)/3, seen=table)
    if kind == 'linear':
        return Recommender.from_factors(P, Q, USERS, ITEMS, item_bias=3+rng.normal(size=M)/3, titles=titles, seen=table)
    if kind in ('implicit', 'weighted'):
        weighted = kind == 'weighted'
        return Recommender.from_factors(P, Q, USERS, ITEMS, 'implicit', table, rating='rating' if weighted else None,
                                        weight='rating' if weighted else None, titles=titles, reg=2.)
    B = rng.normal(size=(M, M))
    np.fill_diagonal(B, 0)
    known = KnownRatings.from_pairs([USERS.index(u) for u in table.user], table.movie, np.ones(len(table)), N)
    return ItemRecommender(B, USERS, ITEMS, titles, known)

KINDS = ['stars', 'linear', 'implicit', 'weighted', 'items']

@pytest.fixture(scope='module', params=KINDS)
def rec(request, table): return make(request.param, table)

@pytest.fixture(scope='module')
def stars(table): return make('stars', table)

def seen_by(table, user): return set(table.movie[table.user == user])

def given(rec, items, values):
    "Ratings as this kind takes them"
    weighs = rec.kind == 'stars' or getattr(rec, 'weighted', False)
    return dict(zip(items, values, strict=True)) if weighs else list(items)

# The same verbs

def test_one_list_and_many(rec, table):
    one,many,everybody = rec.recommend('u3', k=7),rec.recommend(['u3', 'u5'], k=7),rec.recommend_all(k=7)
    assert list(one.columns) == ['item', 'title', 'score'] and list(many.columns) == ['user', 'item', 'title', 'score']
    assert one.item.tolist() == many.item[many.user == 'u3'].tolist() == everybody.item[everybody.user == 'u3'].tolist()
    assert not set(one.item) & seen_by(table, 'u3') and one.title[0] == f'Movie {one.item[0]}'
    assert (one.score.diff().dropna() <= 0).all()

def test_lists_against_a_slow_sort(rec, table):
    scores = rec.scores(['u3'])[0]
    slow = [i for i in np.argsort(-scores, kind='stable').tolist() if i not in seen_by(table, 'u3')]
    assert rec.recommend('u3', k=9).item.tolist() == slow[:9]
    assert rec.recommend('u3', k=M, include_seen=True).item.tolist() == np.argsort(-scores, kind='stable').tolist()

@pytest.mark.parametrize('call', ['recommend', 'recommend_all', 'folded', 'cold'])
def test_filters_hold_at_every_exit(rec, call):
    shelf = pd.Series([i % 3 == 0 for i in ITEMS], index=ITEMS)
    kwargs = dict(k=M, among=shelf, without=[0, 3])
    got = {'recommend': lambda: rec.recommend(['u1', 'u2'], **kwargs),
           'recommend_all': lambda: rec.recommend_all(**kwargs),
           'folded': lambda: rec.recommend(rec.fold_in(given(rec, [6, 9], [5, 1])), **kwargs),
           'cold': lambda: rec.recommend('nobody', cold='popular', **kwargs)}[call]()
    assert len(got) and set(got.item) <= set(range(6, M, 3))

def test_popularity_is_a_dial(rec, table):
    counts = table.movie.value_counts()
    mean = [counts.reindex(rec.recommend('u4', popularity=p).item).mean() for p in (0, .5, 1)]
    assert mean[0] < mean[2] and mean[0] <= mean[1] <= mean[2]
    crowd = counts.drop(list(seen_by(table, 'u4'))).iloc[:10].min()
    assert counts.reindex(rec.recommend('u4', popularity=1.).item).min() >= crowd
    with pytest.raises(ValueError, match='popularity must be between 0 and 1, got 2'): rec.recommend('u4', popularity=2)

def test_somebody_unknown(rec, table):
    with pytest.raises(ValueError, match="user 'nobody' has no training rating"): rec.recommend('nobody')
    with pytest.raises(ValueError, match="user 'nobody'"): rec.recommend(['u1', 'nobody'])
    got = rec.recommend(['u1', 'nobody'], k=3, cold='popular')
    assert got.cold.tolist() == [False]*3 + [True]*3 and got.score[3:].isna().all()
    assert table.movie.value_counts()[got.item[3:]].min() == table.movie.value_counts().iloc[2]
    with pytest.raises(ValueError, match="cold must be None or 'popular', got 'x'"): rec.recommend('u1', cold='x')

def test_similar(rec):
    got = rec.similar(5, k=M)
    assert 5 not in got.item.tolist() and len(got) == M-1
    few = rec.similar(5, k=M, min_ratings=12)
    assert set(few.item) == {i for i in ITEMS if rec.counts[i] >= 12 and i != 5}
    assert few.item.tolist() == [i for i in got.item if i in set(few.item)]

# New users

def test_folding_in_many_is_folding_in_each(rec, table):
    some = table[table.user.isin(['u1', 'u2', 'u3'])]
    column = 'rating' if rec.kind == 'stars' or getattr(rec, 'weighted', False) else None
    for f in rec.fold_in_many(some, rating=column):
        mine = some[some.user == f.user]
        alone = rec.fold_in(given(rec, mine.movie, mine.rating))
        assert rec.recommend(f).item.tolist() == rec.recommend(alone).item.tolist()
        assert set(f.items) == set(mine.movie)

def test_folding_in_minimizes_the_training_objective(table):
    "For who-has-what: 1 for what they have, 0 for the rest, and a regularization that grows with the row's weight"
    for kind in ('implicit', 'weighted'):
        rec = make(kind, table)
        ratings = {3: 2., 8: 5., 21: 1.}
        w = np.array(list(ratings.values())) if kind == 'weighted' else np.ones(3)
        Y = rec.item_factors.astype(float)
        has,c = np.zeros(M),np.ones(M)
        has[[3, 8, 21]],c[[3, 8, 21]] = 1,1+rec.alpha*w
        lam = rec.reg*((rec.alpha*w.sum()+M)/rec.row_weights[0])**rec.nu
        slow = np.linalg.solve((Y.T*c)@Y + lam*np.eye(6), Y.T@(c*has))
        assert np.allclose(rec.fold_in(ratings).vector[:-1], slow, atol=1e-5)

def test_explanations_are_what_leaving_out_does(rec, table):
    "Exactly when folding in is linear, nearly behind a sigmoid"
    mine = table[table.user == 'u7']
    target = next(i for i in ITEMS if i not in set(mine.movie))
    told = rec.explain(rec.fold_in(given(rec, mine.movie, mine.rating)), target, k=100).set_index('item').speaks
    def score(m): return rec.scores(rec.fold_in(given(rec, m.movie, m.rating)))[0,target]
    slow = pd.Series({i: score(mine) - score(mine[mine.movie != i]) for i in mine.movie})
    assert set(told.index) == set(mine.movie) and (told.abs().diff().dropna() <= 1e-9).all()
    close = dict(rtol=.05, atol=5e-3) if rec.kind == 'stars' and rec.y_range else dict(atol=2e-5)
    assert np.allclose(told[slow.index], slow, **close)

def test_a_rating_of_the_item_itself_does_not_count(rec):
    me = rec.fold_in(given(rec, [1, 2, 3], [5, 1, 4]))
    assert set(rec.explain(me, 2).item) == {1, 3}

# Updates

def test_update_is_folding_in(rec, table):
    mine = table[table.user == 'u9'].assign(user='new')
    column = 'rating' if rec.kind == 'stars' or getattr(rec, 'weighted', False) else None
    later = rec.update(mine, rating=column)
    guest = rec.fold_in(given(rec, mine.movie, mine.rating))
    assert later.recommend('new').item.tolist() == rec.recommend(guest).item.tolist()
    assert 'new' not in rec.users and later.recommend('u1').equals(rec.recommend('u1'))
    assert later.counts.sum() == rec.counts.sum()+len(mine)

def test_an_old_user_gets_new_ratings(rec, table):
    unseen = next(i for i in ITEMS if i not in seen_by(table, 'u2'))
    later = rec.update(frame(['u2'], [unseen], [5]))
    assert unseen in rec.recommend('u2', k=M).item.tolist() and unseen not in later.recommend('u2', k=M).item.tolist()
    assert later.known.row(2)[0].tolist() == sorted([*rec.known.row(2)[0].tolist(), unseen])

def test_a_new_item(rec):
    later = rec.update(frame(['u1', 'u2', 'u3'], 99, [5, 4, 5], title='New one'))
    if rec.kind == 'items':     # there are no weights for it
        with pytest.raises(ValueError, match='item 99 has no training rating'): later.similar(99)
        return
    assert later.items[-1] == 99 and later.titles[99] == 'New one' and 99 in later.recommend('u4', k=M+1).item.tolist()
    assert 99 not in later.recommend('u1', k=M+1).item.tolist()

def test_piece_by_piece_is_at_once(rec):
    "New users, new items that nobody knows yet, old users, and ratings that change: one by one, and in any cut"
    column = 'rating' if rec.kind == 'stars' or getattr(rec, 'weighted', False) else None
    news = frame(['new', 'new', 'x', 'u1', 'u2', 'x', 'u3', 'u1'], [98, 3, 99, 99, 98, 5, 99, 7],
                 [5, 1, 4, 4, 2, 3, 1, 5])
    at_once = rec.update(news, rating=column)
    for cuts in (range(1, 8), [3], [5, 6]):
        piece = rec
        for part in np.split(np.arange(8), cuts): piece = piece.update(news.iloc[part], rating=column)
        assert set(piece.items) == set(at_once.items)
        order = [piece.items.index(i) for i in at_once.items]
        assert np.allclose(piece.scores(at_once.users)[:,order], at_once.scores(at_once.users), atol=1e-4)
    again = at_once.update(news, rating=column)
    assert np.allclose(again.scores(again.users), at_once.scores(again.users), atol=1e-6)

def test_forgetting_is_as_if_they_had_never_come(rec):
    "As far as training has nothing to do with it"
    column = 'rating' if rec.kind == 'stars' or getattr(rec, 'weighted', False) else None
    theirs = frame('guest', [98, 3, 99], [5, 1, 4])
    private = frame('u1', [97, 99], [5, 4], title='private')
    others = frame(['u2', 'y', 'y'], [98, 98, 4], [2, 3, 3])
    both = rec.update(pd.concat([others, theirs, private]), rating=column).forget('guest')
    want = rec.update(pd.concat([others, private]), rating=column)
    assert both.users == want.users and set(both.items) == set(want.items)
    order = [both.items.index(i) for i in want.items]
    assert np.allclose(both.scores('y')[:,order], want.scores('y'), atol=1e-5)
    gone = rec.update(pd.concat([others, theirs, private]), rating=column).forget('u1')
    assert 97 not in gone.items and 'private' not in gone.titles.values() and set(gone.items) <= {*ITEMS, 98}
    assert np.allclose(gone.scores('y'), rec.update(pd.concat([others, theirs]), rating=column).scores('y'), atol=1e-5)

def test_many_updates_are_packed(rec, table):
    piece = rec
    for n in range(40): piece = piece.update(frame([f'x{n}', 'u1'], [n, n], [3, 3]))
    at_once = rec.update(frame([f'x{n}' for n in range(40)] + ['u1']*40, [*range(40)]*2, 3))
    assert piece.recommend_all().equals(at_once.recommend_all())
    assert piece.known.packed().items.tolist() == at_once.known.packed().items.tolist()

def test_forget(rec, table, tmp_path):
    later = rec.update(frame(['u5', 'u6'], 99, [5, 1])).forget('u5')
    assert 'u5' not in later.users
    assert later.counts.sum() == rec.counts.sum() - len(seen_by(table, 'u5')) + (rec.kind != 'items')
    with pytest.raises(ValueError, match="user 'u5'"): later.recommend('u5')
    for u in ('u4', 'u7'): assert later.recommend(u, among=ITEMS).item.tolist() == rec.recommend(u).item.tolist()
    later.save(tmp_path/'r')
    assert 'u5' not in (tmp_path/'r'/'config.json').read_text()
    assert Recommender.load(tmp_path/'r').recommend_all().equals(later.recommend_all())
    if rec.kind == 'stars':     # the new item is what u6 alone makes of it
        assert np.allclose(later.item_factors[-1], rec.update(frame(['u6'], 99, [1])).item_factors[-1], atol=1e-5)

# The same ten everywhere

def test_saved_and_pickled(rec, tmp_path):
    rec = rec.update(frame(['new', 'u1', 'u2'], [1, 99, 98], [4, 2, 5]))
    rec.save(tmp_path/'r', metrics={'NDCG@10': .1234}, about='A planted table.')
    for again in (Recommender.load(tmp_path/'r'), type(rec).load(tmp_path/'r'), pickle.loads(pickle.dumps(rec))):
        assert type(again) is type(rec) and again.trained == rec.trained
        pd.testing.assert_frame_equal(again.recommend_all(), rec.recommend_all())
        pd.testing.assert_frame_equal(again.explain('u3', 2), rec.explain('u3', 2))
        more = frame(['u9', 'u1'], [98, 97], [4, 4])     # it remembers what it has to
        assert again.update(more).items == rec.update(more).items
    card = (tmp_path/'r'/'README.md').read_text()
    assert 'NDCG@10 | 0.1234' in card and 'A planted table.' in card and f'| users | {len(rec.users)} |' in card

def test_the_same_from_vectors(rec, table):
    rec = rec.update(frame(['new', 'u1'], [1, 2], [4, 2]))
    *users,items = rec.vectors()
    for r,u in enumerate(rec.users):
        if rec.kind == 'items': scores = items[users[1][users[0][r]:users[0][r+1]]].sum(axis=0)
        else: scores = users[0][r] @ items.T
        scores[rec.known.row(r)[0]] = -np.inf
        assert [rec.items[c] for c in np.argsort(-scores, kind='stable')[:10]] == rec.recommend(u).item.tolist()

def test_a_folder_of_version_1(stars, tmp_path):
    "As version 0.1 wrote it"
    import hashlib

    from safetensors.numpy import save
    known = stars.known
    rows = np.repeat(np.arange(N), np.diff(known.starts))
    tables = {f'{side}_{part}': np.ascontiguousarray(getattr(stars, f'{side}_{part}'))
              for side in ('user', 'item') for part in ('factors', 'bias')}
    pairs = np.stack([rows, known.items], axis=1).astype(np.int64)
    data = save({**tables, 'seen': pairs, 'seen_ratings': known.values.astype('float64')})
    about = {'format': 'collab_nb.recommender', 'version': 1, 'size': len(data), 'y_range': stars.y_range, 'ridge': 8.,
             'trained': [N, M], 'users': stars.users, 'items': stars.items, 'titles': list(stars.titles.values())}
    about = json.loads(json.dumps(about))
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode() + data).hexdigest()
    (tmp_path/'tables.safetensors').write_bytes(data)
    (tmp_path/'recommender.json').write_text(json.dumps({**about, 'sha256': digest}))
    old = Recommender.load(tmp_path)
    assert type(old) is StarRecommender and old.recommend_all().equals(stars.recommend_all())
    assert old.explain('u1', 3).equals(stars.explain('u1', 3))
    (tmp_path/'recommender.json').write_text(json.dumps({**about, 'ridge': 9, 'sha256': digest}))
    with pytest.raises(RecommenderError, match='tampered with'): Recommender.load(tmp_path)

def test_a_kind_that_was_not_asked_for(stars, tmp_path):
    stars.save(tmp_path/'r')
    with pytest.raises(RecommenderError, match='holds a StarRecommender, not a ItemRecommender'):
        ItemRecommender.load(tmp_path/'r')

def test_other_files_in_the_folder_stay(stars, tmp_path):
    (tmp_path/'r').mkdir()
    stars.save(tmp_path/'r')     # an empty folder is fine
    (tmp_path/'r'/'.git').mkdir()
    (tmp_path/'r'/'notes.txt').write_text('mine')
    stars.save(str(tmp_path/'r'))
    names = ['.git', 'README.md', 'config.json', 'model.safetensors', 'notes.txt']
    assert sorted(p.name for p in (tmp_path/'r').iterdir()) == names
    assert [p.name for p in tmp_path.iterdir()] == ['r'] and Recommender.load(tmp_path/'r').users == stars.users

def test_what_cannot_be_read_is_incomplete(stars, tmp_path, monkeypatch):
    stars.save(tmp_path/'r')
    def gone(*args): raise FileNotFoundError('gone')
    monkeypatch.setattr('collab_nb.serving._read_tensors', gone)
    with pytest.raises(RecommenderError, match='^incomplete: .*gone'): Recommender.load(tmp_path/'r')

# Without a training framework

THIN = """import sys
from collab_nb.serving import Recommender
for folder in sys.argv[1:]:
    rec = Recommender.load(folder)
    me = rec.fold_in({1: 5, 2: 1} if rec.kind == 'stars' else [1, 2])
    print(rec.recommend_all(5).to_json(), rec.recommend(me).to_json())
heavy = {'torch', 'fastai', 'matplotlib', 'sklearn', 'fastcore', 'scipy'} & set(sys.modules)
assert not heavy, heavy"""

def test_serving_loads_nothing_heavy(table, tmp_path):
    recs = {kind: make(kind, table) for kind in KINDS}
    for kind,rec in recs.items(): rec.save(tmp_path/kind)
    folders = [str(tmp_path/kind) for kind in recs]
    out = subprocess.run([sys.executable, '-c', THIN, *folders], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    for rec,line in zip(recs.values(), out.stdout.splitlines(), strict=True):
        me = rec.fold_in({1: 5, 2: 1} if rec.kind == 'stars' else [1, 2])
        assert line == f'{rec.recommend_all(5).to_json()} {rec.recommend(me).to_json()}'

# Never silently wrong

@pytest.mark.parametrize('call, message', [
    (lambda r: r.recommend('u1', k=0), 'k must be a whole number, 1 or more, got 0'),
    (lambda r: r.recommend('u1', k=2.5), 'k must be a whole number'),
    (lambda r: r.recommend(1.5), 'ids must be int or str, got 1.5'),
    (lambda r: r.recommend(None), 'ids must be int or str, got None'),
    (lambda r: r.recommend(7), 'user 7 is of type int, the known users are of type str'),
    (lambda r: r.similar('5'), "item '5' has no training rating.*known are int ids 0"),
    (lambda r: r.recommend('u1', among=[1, 999]), 'item 999'),
    (lambda r: r.recommend('u1', among=np.array([True]*M)), 'must be a boolean Series indexed by item, got an array'),
    (lambda r: r.recommend('u1', among=pd.Series([True, None], index=[1, 2], dtype='boolean')), 'got a missing value'),
    (lambda r: r.recommend('u1', among=pd.Series([True], index=['x'])), 'no known item'),
    (lambda r: r.recommend('u1', among=pd.Series([True, True], index=[1, 1])), 'some items twice'),
    (lambda r: r.fold_in(pd.Series([1., 2.], index=[3, 3])), 'occurs twice'),
    (lambda r: r.fold_in({999: 3}), 'item 999'),
    (lambda r: r.fold_in({1.5: 3}), 'ids must be int or str'),
    (lambda r: r.update(frame([7], [1], [3])), 'user 7 is of type int, the known users are of type str'),
    (lambda r: r.update(frame(['u1'], ['1'], [3])), "item '1' is of type str"),
    (lambda r: r.update(frame(['u1', None], [1, 2], [3, 4])), 'empty'),
    (lambda r: r.update(frame(['u1'], [1], [3]).rename(columns={'movie': 'show'})), "no column 'movie'"),
    (lambda r: r.forget('nobody'), "user 'nobody'"),
    (lambda r: r.explain('u1', 999), 'item 999')])
def test_clear_errors(rec, call, message):
    with pytest.raises(ValueError, match=message): call(rec)

def test_an_index_that_counts_rows_is_no_filter(stars):
    "Unless the items are 0, 1, 2, ... themselves"
    yes = pd.Series([True]*5)
    assert set(stars.recommend('u1', among=yes, include_seen=True).item) == set(range(5))
    renamed = Recommender.from_factors(stars.user_factors, stars.item_factors, USERS, range(1, M+1))
    with pytest.raises(ValueError, match='index counts rows'): renamed.recommend('u1', among=yes)

def test_a_filter_of_objects_is_a_filter(stars):
    shelf = pd.Series([True, False, True], index=[1, 2, 3], dtype=object)
    assert set(stars.recommend('u1', among=shelf, include_seen=True).item) == {1, 3}

def test_one_where_many_are_expected(stars):
    assert np.allclose(stars.predict('u1', [10, 20]), [stars.predict('u1', 10)[0], stars.predict(['u1'], [20])[0]])
    assert np.allclose(stars.predict(['u1', 'u2'], 10), stars.predict(['u1', 'u2'], [10, 10]))
    assert stars.predict([], []).shape == (0,) and stars.scores('u1').shape == (1, M)
    assert stars.recommend('u1', among=5).item.tolist() in ([5], [])
    assert stars.recommend([]).empty and list(stars.recommend([]).columns) == ['user', 'item', 'title', 'score']
    with pytest.raises(ValueError, match='must be pairs, got 2 and 3'): stars.predict(['u1', 'u2'], [1, 2, 3])

def test_a_user_of_another_model_is_refused(rec, table):
    me = rec.fold_in(given(rec, [1, 2], [5, 1]))
    later = rec.update(frame(['u5'], [1], [3]))
    assert len(later.recommend(me)) == 10     # an update is the same model
    rng = np.random.default_rng(9)
    if rec.kind == 'items': other = ItemRecommender(rng.normal(size=(M, M)), USERS, ITEMS, known=rec.known)
    else: other = type(rec)(rng.normal(size=(N, 6)), rng.normal(size=(M, 6)), USERS, ITEMS, known=rec.known)
    with pytest.raises(ValueError, match='got one from another model'): other.recommend(me)

def test_guests_without_a_name(rec):
    guests = [rec.fold_in(given(rec, [1, 2], [5, 1])), rec.fold_in(given(rec, [1, 2], [5, 1]), user='me')]
    assert rec.recommend([*guests, 'u1'], k=1).user.tolist() == ['guest 0', 'me', 'u1']

def test_nothing_known_of_a_user(rec, table):
    "For stars that's the mean user; without stars no list is better than another"
    if rec.kind == 'stars':
        assert len(rec.recommend(rec.fold_in({}))) == 10
        return
    for user,r in ((rec.fold_in([]), rec), ('new', rec.update(frame(['new'], [99], [3])))):
        with pytest.raises(ValueError, match='has nothing that the model knows'): r.recommend(user)
        assert r.recommend(user, cold='popular', k=3).cold.all()
        assert 'new' not in set(r.recommend_all(3).user)

def test_clicks_that_repeat(table):
    "They count where weights count"
    for kind,weight in (('implicit', 1.), ('weighted', 2.)):
        rec = make(kind, table)
        assert rec.fold_in([1, 2, 1]).ratings == {1: weight, 2: 1.}
        twice = rec.update(frame('new', [1, 2, 1], 1))
        assert [c.tolist() for c in twice.known.row(N)] == [[1, 2], [weight, 1.]]
        for bad in ({1: np.nan}, {1: None}, {1: '5'}, {1: -1}):
            with pytest.raises(ValueError): rec.fold_in(bad)
    unweighted = frame('a', [1], 1).drop(columns='rating')
    with pytest.raises(ValueError, match="no column 'rating'"): make('weighted', table).update(unweighted)

def test_what_is_returned_can_be_changed(rec):
    before = rec.recommend_all()
    rec.counts[:] = 7
    for part in rec.vectors(): part[:] = 0
    rec.scores('u1')[:] = 0
    if rec.kind != 'items': rec.item_factors[:] = rec.user_factors[:] = 0
    assert rec.recommend_all().equals(before) and set(rec.counts) != {7}

def test_titles_must_be_of_the_items():
    for titles in (pd.Series(['Up', 'It']), ['Up', 'It'], {'7': 'Up'}):
        with pytest.raises(ValueError, match='titles must be'):
            Recommender.from_factors(np.eye(2), np.eye(2), items=[7, 8], titles=titles)

def test_numpy_integers_everywhere():
    rec = Recommender.from_factors(np.eye(3), np.eye(3), np.arange(3), np.arange(3), seen=frame([0], [1], [3.]))
    assert rec.recommend(np.int64(0), k=np.int64(2)).item.tolist() == [0, 2]
    assert rec.recommend(np.arange(2), k=np.int32(1)).user.tolist() == [0, 1]
    assert rec.fold_in({np.int16(1): np.float32(2)}).items == [1]

@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize('where', ['user_factors', 'item_factors', 'user_bias', 'item_bias'])
def test_factors_must_be_finite(bad, where):
    parts = dict(user_factors=np.eye(3), item_factors=np.eye(3), user_bias=np.zeros(3), item_bias=np.zeros(3))
    parts[where] = parts[where].copy()
    parts[where].flat[0] = bad
    with pytest.raises(ValueError, match='must be finite.*did the training diverge'): Recommender.from_factors(**parts)
    with pytest.raises(ValueError, match='weights must be finite'): ItemRecommender([[0, bad], [1, 0]])

@pytest.mark.parametrize('titles, want', [
    (pd.Series(['One', None, pd.NA], index=[0, 1, 2]), ['One', '1', '2']),
    (pd.Series([1, 2, None], index=[0, 1, 2], dtype='Int64'), ['1', '2', '2']),
    ({0: pd.Timestamp('2001-02-03'), 1: np.nan}, ['2001-02-03 00:00:00', '1', '2']),
    (pd.Series(['x'], index=[0], dtype='string'), ['x', '1', '2'])])
def test_titles_of_any_kind_can_be_saved(tmp_path, titles, want):
    rec = Recommender.from_factors(np.eye(3), np.eye(3), titles=titles)
    rec.save(tmp_path/'r')
    assert list(Recommender.load(tmp_path/'r').titles.values()) == list(rec.titles.values()) == want

@pytest.mark.parametrize('ids, message', [
    ([(1, 2), (3, 4)], 'must be int or str, got .1, 2. of type tuple'), ([1, 'a'], 'one kind of id'),
    ([1., 2.], 'got 1.0'), ([True, False], 'got True of type bool'), ([1, None], 'got None')])
def test_ids_are_refused_at_once(ids, message):
    with pytest.raises(ValueError, match=message): Recommender.from_factors(np.eye(2), np.eye(2), items=ids)

def test_what_seen_may_be():
    known = frame([0, 0, 1], [1, 2, 0], [3., 4., 5.])
    rec = Recommender.from_factors(np.eye(3), np.eye(3), seen=known)
    assert set(rec.recommend(0).item) == {0}
    other = known.set_axis(['who', 'what', 'stars'], axis=1)
    renamed = Recommender.from_factors(np.eye(3), np.eye(3), seen=other, user='who', item='what', rating='stars')
    assert renamed.recommend_all().equals(rec.recommend_all())
    with pytest.raises(ValueError, match="no column 'rating'"):
        Recommender.from_factors(np.eye(3), np.eye(3), seen=known[['user', 'movie']])
    implicit = Recommender.from_factors(np.eye(3), np.eye(3), feedback='implicit', seen=known[['user', 'movie']])
    assert set(implicit.recommend(0).item) == {0}
    with pytest.raises(ValueError, match="feedback must be 'stars' or 'implicit', got 'clicks'"):
        Recommender.from_factors(np.eye(3), np.eye(3), feedback='clicks')

def test_nobodys_ratings_are_known():
    rec = Recommender.from_factors(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="nobody's ratings are known"): rec.recommend(9, cold='popular')
    with pytest.raises(ValueError, match="nobody's ratings are known"): rec.similar(0, min_ratings=2)
    assert rec.explain(0, 1).empty

def test_implicit_scores_are_no_ratings(table):
    for kind in ('implicit', 'items'):
        with pytest.raises(ValueError, match='are no ratings'): make(kind, table).predict('u1', [1])
    with pytest.raises(ValueError, match='weights must be above 0, got 0'): make('weighted', table).fold_in({1: 0.})
    with pytest.raises(ValueError, match='ratings must be {item: rating} or a Series, got a list'):
        make('stars', table).fold_in([1])

def test_movie_tables():
    movies = pd.DataFrame({'movie': [1, 2, 3], 'title': ['Alien (1979)', 'Fargo (1996)', None],
                           'genres': ['Horror|Sci-Fi', 'Crime', None]})
    assert has_genre(movies, 'Horror', 'Crime').to_dict() == {1: True, 2: True, 3: False}
    for call,why in ((lambda: has_genre(movies, 'Horr'), 'among Crime, Horror, Sci-Fi, got .Horr.'),
                     (lambda: has_genre(movies), 'none'), (lambda: with_title(movies, 'fargo'), "close to it: 'Fargo")):
        with pytest.raises(ValueError, match=why): call()
    assert with_title(movies, ['Alien (1979)']).tolist() == [True, False, False]

@pytest.mark.filterwarnings('ignore:load_learner:UserWarning')     # fastai's, for every file
def test_an_exported_learner_is_refused(tmp_path):
    from fastai.collab import EmbeddingDotBias,MSELossFlat
    from fastai.learner import load_learner

    from collab_nb.loader import Learner,rating_dls
    from collab_nb.synth import synth_ratings
    dls = rating_dls(synth_ratings(30, 20, 300, seed=0))
    learn = Learner(dls, EmbeddingDotBias(4, dls.n_users, dls.n_items, y_range=(0, 5.5)), loss_func=MSELossFlat())
    learn.export(tmp_path/'learner.pkl')
    again = load_learner(tmp_path/'learner.pkl')
    with pytest.raises(ValueError, match='got an exported learner'): Recommender.from_learner(again)

def test_implicit_kinds_are_checked():
    assert isinstance(ImplicitRecommender(np.eye(2), np.eye(2)), Recommender)
    for kwargs,why in ((dict(alpha=0), 'alpha must be above 0'), (dict(reg=-1), 'reg must be above 0'),
                       (dict(nu=np.inf), 'nu must be finite')):
        with pytest.raises(ValueError, match=why): ImplicitRecommender(np.eye(2), np.eye(2), **kwargs)
    with pytest.raises(ValueError, match='same number of factors, got 2 and 3'):
        Recommender.from_factors(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match='table of 2 x 2'): ItemRecommender(np.zeros((2, 3)))

def test_tables_of_any_kind(table):
    "polars and Arrow tables where a frame goes"
    from collab_nb.ranking import ease,ials
    here = table.drop(columns='rating')
    there = polars_frame(here)
    for fit in (lambda t: ials(t, 4, 2.), lambda t: ease(t, 9.)):
        a,b = fit(here),fit(there)
        assert a.recommend_all().equals(b.recommend_all())
        news = frame(['new', 'new'], [1, 2], 1).drop(columns='rating')
        assert a.update(news).recommend('new').equals(b.update(polars_frame(news)).recommend('new'))
        assert b.fold_in_many(polars_frame(news))[0].items == [1, 2]
    movies = pd.DataFrame({'movie': [1, 2], 'title': ['Up', 'It'], 'genres': ['Drama', 'Horror']})
    assert has_genre(polars_frame(movies), 'Horror').tolist() == [False, True]
