"""Other people's models, as their documentation uses them. Each function fits on `train` and predicts `test`;
a package is imported where it's used."""
import numpy as np
import pandas as pd

AGES  = [0, 17, 24, 34, 44, 49, 55, 200]
YEARS = [0, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1992, 1993, 1994, 1995, 1996, 1997, 2100]

def surprise(train, test, seed, algo='SVD', **settings):
    "Surprise's `SVD` and `SVDpp`: biased factors by stochastic gradient descent, one rating at a time (Hug, 2020)"
    from surprise import Dataset,Reader,SVD,SVDpp
    data = Dataset.load_from_df(train[['user', 'movie', 'rating']], Reader(rating_scale=(1, 5)))
    model = {'SVD': SVD, 'SVDpp': SVDpp}[algo](random_state=seed, **settings).fit(data.build_full_trainset())
    return [model.predict(u, i).est for u,i in zip(test.user, test.movie, strict=True)]

def surprise_svdpp(*args, **settings): return surprise(*args, algo='SVDpp', cache_ratings=True, **settings)

def cornac(train, test, seed, **settings):
    "Cornac's `MF`: biased factors by stochastic gradient descent (Salah et al., 2020)"
    from cornac.data import Dataset
    from cornac.models import MF
    data = Dataset.from_uir(list(train[['user', 'movie', 'rating']].itertuples(index=False, name=None)), seed=seed)
    model = MF(seed=seed, num_threads=1, **settings).fit(data)
    return [model.rate(data.uid_map.get(u, data.num_users), data.iid_map.get(i, data.num_items))
            for u,i in zip(test.user, test.movie, strict=True)]

def lenskit(train, test, seed, **settings):
    "LensKit's `BiasedMFScorer`: biased factors by alternating least squares (Ekstrand, 2020)"
    from lenskit.als import BiasedMFScorer
    from lenskit.batch import predict
    from lenskit.data import ItemListCollection,from_interactions_df
    from lenskit.pipeline import predict_pipeline
    from lenskit.random import set_global_rng
    set_global_rng(seed)
    pipe = predict_pipeline(BiasedMFScorer(**settings))
    pipe.train(from_interactions_df(train[['user', 'movie', 'rating']],
                                    user_col='user', item_col='movie', rating_col='rating'))
    asked = test[['user', 'movie']].set_axis(['user_id', 'item_id'], axis=1)
    said = predict(pipe, ItemListCollection.from_df(asked.drop_duplicates(), ['user_id']), n_jobs=1).to_df()
    score = asked.merge(said, on=['user_id', 'item_id'], how='left').score
    if score.isna().mean() > .01:
        raise ValueError(f'LensKit gave no score for {score.isna().sum()} of {len(score)} rows')
    return score.fillna(train.rating.mean())      # movies that nobody rated in training

# implicit: who rated what, without the stars (github.com/benfred/implicit)

def implicit(train, test, model, confidence=1.):
    "Scores of the rows of `test` by a model of `implicit`, fitted to the table of who rated what"
    from scipy.sparse import csr_matrix
    users,movies = np.unique(train.user),np.unique(train.movie)
    rows,columns = pd.Index(users).get_indexer(train.user),pd.Index(movies).get_indexer(train.movie)
    weights = np.full(len(train), confidence, dtype='float32')
    table = csr_matrix((weights, (rows, columns)), shape=(len(users), len(movies)))
    model.fit(table, show_progress=False)
    who,res = test.user.unique(),np.full((test.user.nunique(), len(movies)), -np.inf)
    at = pd.Index(users).get_indexer(who)
    ids,scores = model.recommend(at, table[at], N=len(movies), filter_already_liked_items=False)
    for k in range(len(who)):
        found = ids[k] >= 0
        res[k, ids[k][found]] = scores[k][found]
    columns = pd.Index(movies).get_indexer(test.movie)
    return np.where(columns < 0, -np.inf, res[pd.Index(who).get_indexer(test.user), columns])

def implicit_als(train, test, seed, alpha=1., **settings):
    "implicit's `AlternatingLeastSquares` (Hu, Koren and Volinsky, 2008); every cell has the confidence `alpha`"
    from implicit.als import AlternatingLeastSquares
    return implicit(train, test, AlternatingLeastSquares(random_state=seed, num_threads=1, **settings), alpha)

def implicit_bm25(train, test, seed, **settings):
    "implicit's `BM25Recommender`: neighbors of items, weighted as in text search"
    from implicit.nearest_neighbours import BM25Recommender
    return implicit(train, test, BM25Recommender(num_threads=1, **settings))

# myFM: a factorization machine sampled by Gibbs (Rendle, 2012; github.com/tohtsky/myFM), with the features of its own
# MovieLens example

def one_hot(values, classes):
    "A sparse indicator (len(values), len(classes)); a value that isn't among the classes has an empty row"
    from scipy.sparse import csr_matrix
    at = pd.Index(classes).get_indexer(values)
    rows = np.flatnonzero(at >= 0)
    return csr_matrix((np.ones(len(rows)), (rows, at[rows])), shape=(len(values), len(classes)))

def block(train, test, by, other, implicit, side):
    """Features of each id in column `by`: itself, who (or what) it met in training scaled by 1/sqrt(count), side
    features; and the row of each rating"""
    from scipy.sparse import diags,hstack
    ids = pd.concat([train, test]).drop_duplicates(by)
    known,others = np.unique(train[by]),np.unique(train[other])
    groups = [one_hot(ids[by], known)]
    if implicit:
        met = one_hot(train[by], ids[by]).T @ one_hot(train[other], others)
        counts = np.asarray(met.sum(1)).ravel()
        groups.append(diags(1/np.sqrt(np.maximum(counts, 1))) @ met)
    groups += [f(ids) for f in side]
    at = pd.Index(ids[by])
    sizes = [g.shape[1] for g in groups]
    return hstack(groups, format='csr'),sizes,at.get_indexer(train[by]),at.get_indexer(test[by])

def column(name): return lambda ids: one_hot(ids[name], sorted(ids[name].unique()))
def bins(name, edges): return lambda ids: one_hot(pd.cut(ids[name], edges, labels=False), range(len(edges)-1))
def genres(ids):
    from scipy.sparse import csr_matrix
    flags = ids.genres.str.get_dummies('|').to_numpy(dtype='float64')
    return csr_matrix(flags/np.sqrt(flags.sum(1, keepdims=True)))

def days(frame): return [frame.timestamp//86400]
def user_days(frame): return [*days(frame), frame.user.astype(str)+' '+(frame.timestamp//86400).astype(str)]

def sampled(X_train, X_test, rel_train, rel_test, sizes, stars, ordinal, seed, rank, n_iter, n_kept_samples):
    """Fit, predict; `sizes`: columns of each group that has a variance of its own.
    Ordinal: stars and the probabilities of the five"""
    from myfm import MyFMOrderedProbit,MyFMRegressor
    model = (MyFMOrderedProbit if ordinal else MyFMRegressor)(rank=rank, random_seed=42+seed)
    stars = stars.to_numpy()-1 if ordinal else stars.to_numpy(dtype='float64')
    model.fit(X_train, stars, X_rel=rel_train, group_shapes=sizes, n_iter=n_iter, n_kept_samples=n_kept_samples)
    if not ordinal: return model.predict(X_test, rel_test)
    probs = model.predict_proba(X_test, rel_test)
    return probs @ np.arange(1, 6),probs

def myfm(train, test, seed, user_sets=False, movie_sets=False, ordinal=False, when=days, rank=10, n_iter=512):
    """myFM with what the frames show: ids; `user_sets`: who rated what (SVD++); `movie_sets`: its mirror image
    (flipped); side features and `when`, the day, when they're columns"""
    from myfm import RelationBlock
    from scipy.sparse import hstack
    of_user,of_movie = [],[]
    if 'age' in train:
        of_user = [bins('age', AGES), column('gender'), column('occupation')]
        of_movie = [genres, bins('year', YEARS)]
    blocks = [block(train, test, 'user', 'movie', user_sets, of_user),
              block(train, test, 'movie', 'user', movie_sets, of_movie)]
    sizes = [n for _,group,_,_ in blocks for n in group]
    X_train = X_test = None
    if 'timestamp' in train:
        classes = [sorted(of.unique()) for of in when(train)]
        X_train,X_test = (hstack([one_hot(of, c) for of,c in zip(when(f), classes, strict=True)], format='csr')
                          for f in (train, test))
        sizes = [*map(len, classes), *sizes]
    rel_train,rel_test = ([RelationBlock(b[which].tolist(), b[0]) for b in blocks] for which in (2, 3))
    n_kept = n_iter-min(50, n_iter//4)
    return sampled(X_train, X_test, rel_train, rel_test, sizes, train.rating, ordinal, seed, rank, n_iter, n_kept)

def myfm_svdpp(*args, **settings): return myfm(*args, user_sets=True, **settings)
def myfm_flipped(*args, **settings): return myfm(*args, user_sets=True, movie_sets=True, **settings)
def myfm_ordinal(*args, **settings): return myfm(*args, user_sets=True, movie_sets=True, ordinal=True, **settings)
def myfm_user_day(*args, **settings): return myfm_flipped(*args, when=user_days, **settings)

def myfm_example(train, test, seed, ordinal=False, rank=10, n_iter=512):
    """myFM as its own examples/ml-100k-extended.ipynb has it, with its encoders: no gender, but the first character of
    the zip code; all samples are kept, the first ones too. The encoders know what training shows (theirs know every
    user and movie, rated or not); the year is the title's"""
    from myfm import RelationBlock
    from myfm.utils import encoders
    def met(by, other): return train.groupby(by)[other].agg(lambda ids: ','.join(map(str, ids)))
    def side(by, other, columns):
        ids = pd.concat([train, test]).drop_duplicates(by).set_index(by, drop=False)
        ids = ids.assign(zip_code=ids.zip_code.str[0], genres=ids.genres.fillna(''),
                         met=met(by, other).reindex(ids.index).fillna(''))
        known = ids.loc[train[by].unique()]
        res = encoders.DataFrameEncoder()
        for name,encoder in columns.items(): res.add_column(name, encoder(known[name]))
        at = ids.index
        return res.encode_df(ids),res.encoder_shapes,at.get_indexer(train[by]),at.get_indexer(test[by])
    one,few,many = encoders.CategoryValueToSparseEncoder,encoders.BinningEncoder,encoders.MultipleValuesToSparseEncoder
    blocks = [side('user', 'movie', {'user': one, 'age': few, 'occupation': one, 'zip_code': one, 'met': many}),
              side('movie', 'user', {'movie': one, 'year': few, 'genres': lambda of: many(of, sep='|'), 'met': many})]
    date = one(train.timestamp//86400)
    X_train,X_test = (date.to_sparse(f.timestamp//86400) for f in (train, test))
    rel_train,rel_test = ([RelationBlock(b[which].tolist(), b[0]) for b in blocks] for which in (2, 3))
    sizes = [len(date), *blocks[0][1], *blocks[1][1]]
    return sampled(X_train, X_test, rel_train, rel_test, sizes, train.rating, ordinal, seed, rank, n_iter, n_iter)

def myfm_example_ordinal(*args, **settings): return myfm_example(*args, ordinal=True, **settings)
