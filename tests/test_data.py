"Splits and the loader: their properties, every fault that is refused, and that fastai finds all it expects."
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from fastai import learner as fastai_learner
from fastai.collab import CollabDataLoaders,EmbeddingDotBias,MSELossFlat,collab_learner,load_learner,set_seed
from fastai.tabular.all import RandomSplitter,TabDataLoader
from hypothesis import given,settings,strategies as st

from collab_nb.baselines import Means,tune_damping
from collab_nb.columns import as_frame,as_times
from collab_nb.data import check_splits,fold_split,random_split,rating_dls,synth_ratings,time_split,tuning_split
from collab_nb.loader import Learner,RatingCheck
from collab_nb.splits import by_time,inner_split

FEW = settings(max_examples=30, deadline=None)

@pytest.fixture(scope='module')
def table(): return synth_ratings(60, 40, 900, seed=1)

@pytest.fixture(scope='module')
def dls(table): return rating_dls(table, bs=32)

def disjoint_and_complete(splits, n):
    assert all(s.dtype == np.int64 and s.ndim == 1 for s in splits)
    assert np.array_equal(np.sort(np.concatenate(splits)), np.arange(n))

# splits

@FEW
@given(n=st.integers(1, 500), pct=st.floats(.01, .99), seed=st.integers(0, 2**31))
def test_random_split(n, pct, seed):
    splits = random_split(range(n), pct, seed)
    disjoint_and_complete(splits, n)
    assert len(splits[1]) == int(pct*n)
    assert all(np.array_equal(a, b) for a,b in zip(splits, random_split(range(n), pct, seed), strict=True))

@FEW
@given(n=st.integers(5, 500), k=st.integers(1, 5))
def test_fold_split(n, k):
    splits = fold_split(range(n), k)
    disjoint_and_complete(splits, n)
    assert abs(len(splits[1]) - n/5) <= 1

@FEW
@given(times=st.lists(st.integers(0, 20), min_size=1, max_size=200), pct=st.floats(.01, .99))
def test_time_split(times, pct):
    df = pd.DataFrame({'timestamp': times})
    splits = time_split(df, pct)
    disjoint_and_complete(splits, len(df))
    if len(splits[1]): assert df.timestamp[splits[0]].max() <= df.timestamp[splits[1]].min()

def test_the_five_folds(ratings):
    valid = [fold_split(ratings, k)[1] for k in range(1, 6)]
    assert np.array_equal(np.concatenate(valid), np.arange(100_000))
    first = ratings.user.iloc[valid[0]]
    assert first.nunique() == 459 and first.max() == 462     # as the official u1.test

def test_same_rows_as_fastai():
    assert set(random_split(range(1000), seed=42)[1]) == set(RandomSplitter(seed=42)(range(1000))[1])

@pytest.mark.parametrize('k', [0, 6, -1, 1.5, 1.0, True, None])
def test_no_such_fold(k):
    with pytest.raises(ValueError, match='k must be'): fold_split(range(100), k)

@pytest.mark.parametrize('n', [1, 300, 322])
def test_tuning_split(n):
    "1,000 rows, five splits: a third of the rows is never held out"
    splits = [random_split(range(1000), seed=seed) for seed in range(5)]
    train,tune = tuning_split(splits, n=n)
    assert len(tune) == n and np.array_equal(np.sort(np.concatenate([train, tune])), splits[0][0])
    assert not any(np.isin(tune, valid).any() for _,valid in splits)
    assert n == 322 or not np.array_equal(tune, tuning_split(splits, n=n, seed=1)[1])

@pytest.mark.parametrize('n', [0, 323])
def test_tuning_split_too_many(n):
    splits = [random_split(range(1000), seed=seed) for seed in range(5)]
    with pytest.raises(ValueError, match=f'n must be 1 to 322 .*, got {n}'): tuning_split(splits, n=n)

def test_inner_split():
    "Which rows is part of the record: stored trials and runs were made with them"
    splits = random_split(range(4000), seed=0)
    train,valid = inner_split(splits, n=300)
    assert len(valid) == 300 and np.array_equal(np.sort(np.concatenate([train, valid])), splits[0])
    assert np.array_equal(valid, np.sort(splits[0][np.random.RandomState(7).permutation(3200)[:300]]))
    assert not np.array_equal(valid, inner_split(splits, n=300, seed=8)[1])

@pytest.mark.parametrize('n', [0, 3200])
def test_inner_split_too_many(n):
    with pytest.raises(ValueError, match=f'n must be 1 to 3,199, got {n:,}'):
        inner_split(random_split(range(4000), seed=0), n=n)

@pytest.mark.parametrize('split', [random_split, time_split])
@pytest.mark.parametrize('pct', [0, 1, -.2, 20])
def test_no_such_share(split, pct, table):
    with pytest.raises(ValueError, match='valid_pct must be between 0 and 1, got'): split(table, pct)

# the loader

def ours(dls, n_factors=2, y_range=(0, 5.5)):
    "Our `Learner` with fastai's model"
    return Learner(dls, EmbeddingDotBias(n_factors, dls.n_users, dls.n_items, y_range=y_range), loss_func=MSELossFlat())

words = st.text('aZ0 -_é日#\n', max_size=3)
ids = st.one_of(*(st.lists(kind, min_size=2, max_size=60) for kind in (st.integers(-5, 5), words)))

@FEW
@given(users=ids, bs=st.integers(1, 70), seed=st.integers(0, 1000), data=st.data())
def test_each_training_rating_once(users, bs, seed, data):
    n = len(users)
    items = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    df = pd.DataFrame({'u': users, 'i': items, 'r': np.arange(n)*.25 - 3})
    splits = random_split(df, .3, seed)
    dls = rating_dls(df, splits, bs=bs, user='u', item='i', rating='r')
    for dl,rows in zip((dls.train, dls.valid), splits, strict=True):
        batches = list(dl)
        assert len(batches) == len(dl)
        if not len(rows): continue
        x,y = (torch.cat(o) for o in zip(*batches, strict=True))
        back = pd.DataFrame({c: [dls.classes[c][v] for v in x[:,k]] for k,c in enumerate('ui')} | {'r': y.numpy()})
        assert back.sort_values('r').to_numpy().tolist() == df.iloc[rows].to_numpy().tolist()

def test_in_another_order_each_epoch(dls):
    first,second = (torch.cat([y for _,y in dls.train]) for _ in range(2))
    assert not torch.equal(first, second)
    def seeded():
        set_seed(3)
        return next(iter(dls.train))
    assert all(torch.equal(a, b) for a,b in zip(seeded(), seeded(), strict=True))

def test_batches(dls):
    x,y = dls.one_batch()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((32, 2), torch.int64, (32,), torch.float32)
    assert x.device == y.device == torch.device(dls.device)

@pytest.mark.parametrize('make', [lambda s: s.astype(str), lambda s: s.astype('Int64'), lambda s: s.astype('category'),
                                  lambda s: s.astype('int8'), lambda s: s.astype(object),
                                  lambda s: s.astype(str).astype('category')])
def test_ids_of_any_kind(table, make):
    df = table.assign(user=make(table.user.rename(None)))
    dls = rating_dls(df, bs=32)
    assert dls.n_users == table.user.nunique()+1
    assert {type(v) for v in dls.classes['user'][1:]} in ({int}, {str})
    some = df.iloc[[5]]
    assert dls.classes['user'][dls.test_dl(some).one_batch()[0][0,0]] == some.user.iloc[0]

@pytest.mark.parametrize('scale', [lambda r: r*2, lambda r: r/5, lambda r: r-3, lambda r: r > 3,
                                   lambda r: r.astype('Float64')])
def test_any_scale(table, scale):
    stars = scale(table.rating)
    dls = rating_dls(table.assign(rating=stars))
    y = torch.cat([y for _,y in dls.train])
    assert y.dtype == torch.float32
    lo,hi = dls.y_range
    assert lo < float(stars.min()) and float(stars.max()) < hi

def test_any_column_names_and_index(table):
    df = table.rename(columns={'user': 'who', 'movie': 'book', 'rating': 'stars'}).set_index(pd.Index(['x']*len(table)))
    dls = rating_dls(df, user='who', item='book', rating='stars')
    assert list(dls.classes) == ['who', 'book'] and dls.n_items == table.movie.nunique()+1

def test_item_by_title(table):
    assert rating_dls(table, item='title').n_items == table.title.nunique()+1

def test_splits_need_not_name_every_row(table):
    dls = rating_dls(table, splits=([0, 1, 2], [5]))
    assert (len(dls.train_ds), len(dls.valid_ds)) == (3, 1)

def test_without_validation_it_trains(table):
    dls = rating_dls(table, splits=(np.arange(len(table)), []))
    learn = collab_learner(dls, n_factors=2)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)

def test_movielens_sizes(ratings):
    dls = rating_dls(ratings)
    assert (dls.n_users, dls.n_items, len(dls.train_ds), len(dls.valid_ds)) == (944, 1683, 80_000, 20_000)

def test_only_in_validation_is_reported(table, capsys):
    rows = np.arange(len(table))
    alone = table.user.to_numpy() == table.user[0]
    rating_dls(table, splits=(rows[~alone], rows[alone]))
    said = "100% of the validation rows have ids in 'user' that training never sees, 1 of them"
    assert said in capsys.readouterr().out

def test_a_few_unseen_ids_are_not_worth_a_word(ratings, capsys):
    rating_dls(ratings, splits=random_split(ratings, seed=42))
    assert capsys.readouterr().out == ''

def test_repeated_pairs_are_counted_and_kept(table, capsys):
    df = pd.concat([table, table.head(3)])
    dls = rating_dls(df, splits=(np.arange(len(df)), []))
    assert '6 rows are of a (user, movie) pair that occurs more than once' in capsys.readouterr().out
    assert sum(len(y) for _,y in dls.train) == len(df)

def test_titles_are_shown(table, monkeypatch):
    shown = []
    monkeypatch.setattr('collab_nb.loader.display_df', shown.append)
    dls = rating_dls(table)
    dls.show_batch(max_n=5)
    learn = ours(dls)
    with learn.no_bar(): learn.show_results(max_n=5)
    batch,results = shown
    assert batch.columns.tolist() == ['user', 'movie', 'title', 'rating'] and len(batch) == 5
    assert results.columns.tolist() == [*batch.columns, 'rating_pred'] and len(results) == 5
    for df in shown: assert len(df.merge(table, on=['user', 'movie', 'title', 'rating'])) == 5      # rows of the table

def test_learner_finds_what_it_expects(table, dls):
    learn = ours(dls, n_factors=3)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2, 1e-2)
    preds,targs = learn.get_preds()
    valid = random_split(table)[1]
    assert np.array_equal(targs.numpy(), table.rating.to_numpy(dtype='float32')[valid])
    assert learn.validate()[0] == pytest.approx(((preds-targs)**2).mean().item(), abs=1e-5)
    train_preds,train_targs = learn.get_preds(ds_idx=0)
    assert np.array_equal(train_targs.numpy(), table.rating.to_numpy(dtype='float32')[random_split(table)[0]])
    for rows in (valid[:1], valid[:5]):
        assert torch.allclose(learn.get_preds(dl=dls.test_dl(table.iloc[rows]))[0], preds[:len(rows)])
        unlabelled = dls.test_dl(table.iloc[rows][['user', 'movie']])
        assert torch.allclose(learn.get_preds(dl=unlabelled)[0], preds[:len(rows)])
    assert learn.validate(dl=dls.test_dl(table.iloc[valid]))[0] == pytest.approx(learn.validate()[0], abs=1e-5)

def test_use_nn(dls):
    learn = collab_learner(dls, use_nn=True, layers=[8], y_range=(0, 5.5))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-2)
    assert len(learn.get_preds()[0]) == len(dls.valid_ds)

@pytest.mark.filterwarnings('ignore:load_learner:UserWarning')
def test_export_holds_no_rating(tmp_path):
    table = synth_ratings(30, 20, 400, seed=2).assign(rating=lambda d: np.linspace(1.2345, 4.8765, len(d)))
    sizes = []
    for n in (200, 400):
        df = pd.concat([table.head(n), table.drop_duplicates('user'), table.drop_duplicates('movie')]).drop_duplicates()
        dls = rating_dls(df, path=tmp_path)
        learn = ours(dls)
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-2)
        before = learn.get_preds(dl=dls.test_dl(table.head(7)))[0]
        learn.export('learner.pkl')
        raw = (tmp_path/'learner.pkl').read_bytes()
        sizes.append(len(raw))
        held = [v for v in df.rating if any(np.asarray(v).astype(t).tobytes() in raw for t in ('<f4', '<f8', '>f8'))]
        assert held == []
        loaded = load_learner(tmp_path/'learner.pkl')
        assert torch.allclose(loaded.get_preds(dl=loaded.dls.test_dl(table.head(7)))[0], before)
        assert (loaded.dls.n_users, loaded.dls.n_items, loaded.dls.y_range) == (dls.n_users, dls.n_items, dls.y_range)
    assert abs(sizes[1]-sizes[0]) < 2000       # twice the ratings, the same file

@pytest.mark.parametrize('y_range', [(0, 4.5), (1.5, 6)])
def test_a_range_that_excludes_ratings_is_refused(dls, y_range):
    "By our `Learner`, and by fastai's when the callback is given to it"
    stock = collab_learner(dls, n_factors=2, y_range=y_range, cbs=RatingCheck())
    for learn in (ours(dls, n_factors=2, y_range=y_range), stock):
        with pytest.raises(ValueError, match='y_range must include the ratings, which lie between 1 and 5'):
            learn.fit(1)

def test_other_loaders_are_left_alone(table, tmp_path):
    "On fastai's own loaders ours is fastai's `Learner`, and what it exports needs nothing of ours"
    dls = CollabDataLoaders.from_df(table, item_name='movie', rating_name='rating', seed=0, dl_type=TabDataLoader)
    learn = Learner(dls, EmbeddingDotBias(2, *map(len, dls.classes.values()), y_range=(0, 4)), loss_func=MSELossFlat())
    assert type(learn) is fastai_learner.Learner and not any(isinstance(cb, RatingCheck) for cb in learn.cbs)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    learn.path = tmp_path
    learn.export('learner.pkl')
    assert b'collab_nb' not in (tmp_path/'learner.pkl').read_bytes()

def test_why_the_course_fixes_the_stock_loader(table):
    "If fastai goes back to a permutation, chapter 00 has to be rewritten"
    names = dict(item_name='movie', rating_name='rating')
    dls = CollabDataLoaders.from_df(table, seed=42, bs=64, **names)
    assert len(set(dls.train.get_idxs())) < 0.7*len(dls.train_ds)     # 1-1/e of them is the rule
    dls = CollabDataLoaders.from_df(table, seed=42, bs=64, dl_type=TabDataLoader, **names)
    assert len(set(dls.train.get_idxs())) == len(dls.train_ds)

# faults

def at(col, row, value):
    "The column with another value in one row"
    return col.astype(object).where(col.index != row, value)

def by_labels(df, kind=lambda s: s):
    "Loaders split by the index of the table"
    return rating_dls(df, splits=(kind(df.index[:100]), kind(df.index[100:])))

FAULTS = {
    'not a frame': (lambda d: rating_dls(d.to_numpy()), 'ratings must be a table .* got a ndarray'),
    'a column': (lambda d: rating_dls(d.rating), 'ratings must be a table .* got a Series'),
    'no frame to predict': (lambda d: rating_dls(d).test_dl(7), 'must be a table .* got a int'),
    'no averages of a list': (lambda d: Means([1, 2]), 'must be a table .* got a list'),
    'labels as positions': (lambda d: by_labels(d.sort_values('rating')),
                            "train split must be an array of row positions, got a pandas Index, and those aren't"),
    'labels in a Series': (lambda d: by_labels(d.sort_values('rating'), lambda s: s.to_series()),
                           'a pandas Series, and those'),
    'labels of a part': (lambda d: by_labels(d[d.user > 3]), 'got a pandas Index'),
    'labels of a table without numbers': (lambda d: by_labels(d.set_index(d.index.astype(str))), 'got a pandas Index'),
    'labels for validation alone': (lambda d: rating_dls(d[::-1], splits=([0], d.index[1:])),
                                    'the valid split must be'),
    'a validation batch of nothing': (lambda d: rating_dls(d, val_bs=0), 'val_bs must be a whole number'),
    'missing column': (lambda d: rating_dls(d.drop(columns='movie')), "no column 'movie'; there are: user, rating"),
    'NaN rating': (lambda d: rating_dls(d.assign(rating=d.rating.where(d.index != 3))),
                   "'rating' is empty .NaN. in 1 of 900 rows, first in row 3"),
    'NaN id': (lambda d: rating_dls(d.assign(user=d.user.where(d.index != 7))),
               "'user' is empty .NaN. in 1 of 900 rows, first in row 7"),
    'None id': (lambda d: rating_dls(d.assign(movie=at(d.movie, 7, None))), "'movie' is empty"),
    'rating as text': (lambda d: rating_dls(d.assign(rating=d.rating.astype(str))),
                       "ratings must be numbers, got '.*' in column 'rating'"),
    'rating with a word': (lambda d: rating_dls(d.assign(rating=at(d.rating, 4, 'good'))),
                           "ratings must be numbers, got 'good' in column 'rating'"),
    'infinite rating': (lambda d: rating_dls(d.assign(rating=d.rating.where(d.index != 2, np.inf))),
                        "ratings must be finite, got inf in column 'rating', row 2"),
    'empty frame': (lambda d: rating_dls(d.head(0)), 'the frame of ratings is empty'),
    'float id': (lambda d: rating_dls(d.assign(user=d.user+.5)), 'ids must be int or str, got .* of type float'),
    'bool id': (lambda d: rating_dls(d.assign(user=d.user > 3)), 'of type bool'),
    'tuple id': (lambda d: rating_dls(d.assign(movie=[(m,) for m in d.movie])), 'of type tuple'),
    'date id': (lambda d: rating_dls(d.assign(movie=pd.Timestamp('2020-01-01'))), 'of type Timestamp'),
    'mixed ids': (lambda d: rating_dls(d.assign(user=at(d.user, 1, 'ann'))), 'mixes int and str'),
    'reserved id': (lambda d: rating_dls(d.assign(user='#na#')), "has the id '#na#'"),
    'list as id': (lambda d: rating_dls(d.assign(movie=[[m] for m in d.movie])), 'of type list'),
    'no batch size': (lambda d: rating_dls(d, bs=0), 'bs must be a whole number, 1 or more, got 0'),
    'one column twice': (lambda d: rating_dls(d, item='user'), 'three columns'),
    'overlapping splits': (lambda d: rating_dls(d, splits=([0, 1, 2], [2, 3])), 'overlap: 1 rows .* first row 2'),
    'split reaches outside': (lambda d: rating_dls(d, splits=([0, 1], [len(d)])),
                              'valid split reaches outside the table: position 900 of 900'),
    'negative position': (lambda d: rating_dls(d, splits=([-1, 1], [2])), 'train split reaches outside'),
    'repeated row': (lambda d: rating_dls(d, splits=([1, 1], [2])), 'train split names a row more than once'),
    'boolean split': (lambda d: rating_dls(d, splits=(d.user > 3, d.user <= 3)), 'array of bool'),
    'three splits': (lambda d: rating_dls(d, splits=([0], [1], [2])), 'a pair of arrays'),
    'empty train split': (lambda d: rating_dls(d, splits=([], [1])), 'train split is empty'),
    'unknown user': (lambda d: rating_dls(d).test_dl(d.head(2).assign(user=999)),
                     'user 999 .row 0. is not among the 59'),
    'no rows to predict': (lambda d: rating_dls(d).test_dl(d.head(0)), 'has no rows'),
    'unknown item': (lambda d: rating_dls(d).test_dl(d.head(2).assign(movie=[d.movie[0], -4])),
                     'item -4 .row 1. is not among'),
}

@pytest.mark.parametrize('name', FAULTS)
def test_fault_is_named(name, table):
    call,message = FAULTS[name]
    with pytest.raises(ValueError, match=message): call(table)

def test_labels_that_are_positions(table):
    right = rating_dls(table, splits=(range(100), range(100, 900))).train.y
    for kind in (lambda s: s, lambda s: s.to_series(), lambda s: pd.Index(s.to_numpy())):
        assert torch.equal(by_labels(table, kind).train.y, right)
    labels = table.index[:600],table.index[600:]
    for call in (lambda: check_splits(labels, 900), lambda: tuning_split([labels], 5), lambda: inner_split(labels, 5)):
        with pytest.raises(ValueError, match='got a pandas RangeIndex, and it may hold labels'): call()

def test_numpy_integers_are_integers(table):
    bs = np.int64(32)
    dls = rating_dls(table, splits=random_split(table, seed=np.int32(4)), bs=bs, val_bs=np.int16(50))
    assert [len(dl) for dl in dls] == [-(-720//32), -(-180//50)]
    assert [len(y) for _,y in dls.valid] == [50, 50, 50, 30]
    assert len(dls.test_dl(table, bs=bs)) == -(-900//32)
    for a,b in ((fold_split(table, np.int8(2), np.int64(4)), fold_split(table, 2, 4)),
                (tuning_split([fold_split(table)], np.int64(9), np.int64(3)), tuning_split([fold_split(table)], 9, 3)),
                (inner_split(fold_split(table), np.int64(9), np.int64(3)), inner_split(fold_split(table), 9, 3))):
        assert np.array_equal(a[1], b[1])

# times

NOON = pd.Series(pd.to_datetime([f'{day} 12:00' for day in ('2023-10-01', '2001-09-09', '2014-05-13', '2019-11-21')]))
SECONDS = NOON.astype('datetime64[s]').astype('int64')
TOKYO = NOON.dt.tz_localize('Asia/Tokyo')
TIMES = {
    'numbers': SECONDS, 'floats': SECONDS+.5, 'nullable': SECONDS.astype('Int64'),
    'numbers as objects': SECONDS.astype(object),
    'numbers as category': pd.Series(pd.Categorical(SECONDS, categories=SECONDS, ordered=True)),     # in another order
    'dates': NOON, 'nanoseconds': NOON.astype('datetime64[ns]'), 'time zone': TOKYO,
    'dates as category': NOON.astype('category'),
    'datetimes': pd.Series(NOON.dt.to_pydatetime(), dtype=object), 'Timestamps of a zone': TOKYO.astype(object),
    'days': NOON.dt.date, 'periods': NOON.dt.to_period('D'), 'ages': NOON - pd.Timestamp('2000-01-01')}

@pytest.mark.parametrize('kind', TIMES)
def test_times_are_sorted_as_times(kind):
    df = pd.DataFrame({'timestamp': TIMES[kind]})
    assert by_time(df).tolist() == [1, 2, 3, 0]
    assert time_split(df, .5)[1].tolist() == [0, 3]
    if kind == 'ages':
        with pytest.raises(ValueError, match='got durations'): as_times(df.timestamp)
        return
    dates = as_times(df.timestamp.set_axis(list('abcd')))
    assert dates.dt.year.to_dict() == {'a': 2023, 'b': 2001, 'c': 2014, 'd': 2019}

@pytest.mark.parametrize('kind', ['timestamp[us][pyarrow]', 'timestamp[ns, tz=Asia/Tokyo][pyarrow]', 'date32[pyarrow]',
                                  'int64[pyarrow]'])
def test_times_in_arrow(kind):
    pytest.importorskip('pyarrow')
    if kind.startswith('int'): times = SECONDS
    elif 'Tokyo' in kind: times = TOKYO
    else: times = NOON.dt.date if kind.startswith('date') else NOON
    df = pd.DataFrame({'timestamp': times.astype(kind)})
    assert by_time(df).tolist() == [1, 2, 3, 0]
    assert as_times(df.timestamp).dt.year.tolist() == [2023, 2001, 2014, 2019]

TEXT = ['789652009', '1100000000', '1400000000', '1574327703']
NOT_TIMES = {
    'text': pd.Series(TEXT), 'objects': pd.Series(TEXT, dtype=object), 'string': pd.Series(TEXT, dtype='string'),
    'dates as text': pd.Series(['2023-9-30', '2023-10-1']), 'd/m/Y': pd.Series(['30/09/2023', '01/10/2023']),
    'category': pd.Series(TEXT).astype('category'), 'one text': pd.Series([3, '4'], dtype=object),
    'ordered': pd.Series(pd.Categorical(['low', 'high'], categories=['low', 'high'], ordered=True)),
    'booleans': pd.Series([True, False]), 'nullable booleans': pd.Series([True, False], dtype='boolean'),
    'a boolean': pd.Series([3, True], dtype=object), 'complex': pd.Series([1j, 2]),
    'times of day': pd.Series(NOON.dt.time)}

@pytest.mark.parametrize('kind', NOT_TIMES)
def test_what_is_no_time(kind):
    for f in (by_time, time_split, lambda df: as_times(df.timestamp)):
        with pytest.raises(ValueError, match="times must be numbers or dates, got .* in column 'timestamp', row") as e:
            f(pd.DataFrame({'timestamp': NOT_TIMES[kind]}))
        assert ('pd.to_numeric or pd.to_datetime' in str(e.value)) == any(isinstance(v, str) for v in NOT_TIMES[kind])

def test_times_that_are_missing_or_mixed():
    for gap in (pd.Series([1., None]), pd.Series([NOON[0], pd.NaT]), pd.Series([1, None], dtype='Int64'),
                pd.Series([NOON[0], None], dtype=object)):
        with pytest.raises(ValueError, match='empty .NaN. in 1 of 2 rows, first in row 1'):
            by_time(pd.DataFrame({'timestamp': gap}))
    mixed = pd.Series([NOON[0], NOON[1].tz_localize('UTC')], dtype=object)
    with pytest.raises(ValueError, match='with and without a time zone'): by_time(pd.DataFrame({'timestamp': mixed}))
    assert by_time(pd.DataFrame({'timestamp': []})).tolist() == []

@pytest.mark.parametrize('factor, unit', [(1000, 'milliseconds'), (10**6, 'microseconds'), (10**9, 'nanoseconds')])
def test_seconds_in_another_unit(factor, unit):
    with pytest.raises(ValueError, match=f'must be seconds since 1970, .* if these are {unit}, divide by {factor:,}'):
        as_times(SECONDS*factor)
    assert as_times(SECONDS).tolist() == NOON.tolist()
    assert by_time(pd.DataFrame({'timestamp': SECONDS*factor})).tolist() == [1, 2, 3, 0]     # to sort, any numbers do

@pytest.mark.parametrize('bad', [-1, 1e30, float('inf')])
def test_numbers_that_are_no_dates(bad):
    with pytest.raises(ValueError, match='must be seconds since 1970'): as_times(pd.Series([5, bad]))

# tables of any kind

def test_tables_of_any_kind(table, as_other):
    df = table.assign(user='u'+table.user.astype(str), day=pd.to_datetime(table.timestamp, unit='s'))
    other = as_other(df)
    pd.testing.assert_frame_equal(as_frame(other), df, check_dtype=False)
    for f in (random_split, fold_split, time_split, partial(time_split, timestamp='day')):
        for a,b in zip(f(other), f(df), strict=True): assert np.array_equal(a, b)
    dls,base = rating_dls(other),rating_dls(df)
    assert torch.equal(dls.train.x, base.train.x) and torch.equal(dls.train.y, base.train.y)
    assert dls.titles == base.titles and dls.classes['user'].items == base.classes['user'].items
    assert torch.equal(dls.test_dl(as_other(df[:5])).x, base.test_dl(df[:5]).x)
    means = Means(other)
    assert np.array_equal(means.predict(df.user, df.movie), Means(df).predict(df.user, df.movie))
    assert tune_damping(other, (1, 3)) == tune_damping(df, (1, 3))

def test_pandas_stays_as_it_is(table):
    assert as_frame(table) is table
    code = '''
import sys, pandas as pd
from collab_nb.columns import as_frame
as_frame(pd.DataFrame())
print([name for name in ('narwhals', 'torch', 'fastai', 'matplotlib') if name in sys.modules])
'''
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'

def test_without_narwhals(monkeypatch):
    monkeypatch.setitem(sys.modules, 'narwhals', None)
    with pytest.raises(ValueError, match='got a list; only pandas is read unless narwhals is installed'): as_frame([1])

# planted factors

def test_planted_truth_is_known():
    df = synth_ratings(300, 200, 20_000, seed=3)
    truth = df.attrs['truth']
    assert truth.user_factors.shape == (300, 5) and truth.item_factors.shape == (200, 5)
    best = ((df.rating - truth.predict(df.user, df.movie))**2).mean()
    assert best == pytest.approx(truth.floor(df.user, df.movie), rel=.03)
    shuffled = ((df.rating - truth.predict(df.user, np.random.default_rng(0).permutation(df.movie)))**2).mean()
    assert shuffled > 1.3*best

def test_planted_ratings_look_like_movielens(ratings):
    df = synth_ratings()
    assert df.columns.tolist() == ratings.columns.tolist()
    assert df.rating.mean() == pytest.approx(ratings.rating.mean(), abs=.01)
    assert df.rating.std() == pytest.approx(ratings.rating.std(), abs=.01)
    for col in ('user', 'movie'):
        assert df[col].value_counts().median() == pytest.approx(ratings[col].value_counts().median(), rel=.4)

def test_uncut_ratings():
    df = synth_ratings(50, 40, 1000, noise=0, stars=None)
    assert np.allclose(df.attrs['truth'].predict(df.user, df.movie), df.rating)

def test_truth_survives(table):
    truth = table.attrs['truth']
    assert table.copy(deep=True).attrs['truth'] is truth
    assert pd.concat([table, table]).attrs['truth'] is truth
    table.merge(table, on=['user', 'movie'])                 # compares attrs: must not fail
    table.groupby('user').rating.mean()

@pytest.mark.parametrize('kwargs, why', [
    (dict(n_users=0), 'n_users must be .* got 0'),
    (dict(n_users=3, n_items=3, n_ratings=10), 'n_ratings must be at most 9 .* got 10'),
    (dict(noise=-1), 'at least 0'), (dict(stars=(.5, .6)), 'add up to')])
def test_planted_sizes(kwargs, why):
    with pytest.raises(ValueError, match=why): synth_ratings(**kwargs)
