"The core of the course: `from collab_nb.all import *`"

# Made from nbs/chapters.json by `make prepare`; change it there.

from fastai.collab import MSELossFlat, set_seed

from collab_nb.loader import Learner
from collab_nb.data import (
    read_movies, read_ratings, read_users, DataError, Truth, check_ml100k, check_splits, fold_split,
    get_latest_small, get_ml100k, my_ratings, random_split, rating_dls, RatingDataLoaders, read_movielens,
    synth_ratings, time_split, tuning_split)
from collab_nb.baselines import DAMPING, Means, tune_damping, compare_splits, split_interval
from collab_nb.factors import match_score, one_hot_lookup
from collab_nb.dot_product import DotProduct, plain_fit
from collab_nb.bias import DotProductBias
from collab_nb.weight_decay import l2_penalty, l2_step, decay_step, sweep_wd, train_one_cycle
from collab_nb.interpret import item_bias, factor_map, place_labels, neighbors, smallest_tables
from collab_nb.evaluate import (
    ndcg_at_k, precision_at_k, recall_at_k, hit_rate_at_k, coverage, popularity_bias, hold_out, top_k, pair_mask,
    evaluate, Scores, popular, bootstrap)
from collab_nb.ranking import als_step, ials, ease
from collab_nb.recommend import (
    FoldedUser, ImplicitRecommender, ItemRecommender, Recommender, RecommenderError, StarRecommender, has_genre,
    with_title)

__all__ = [
    'Learner', 'MSELossFlat', 'set_seed', 'read_movies', 'read_ratings', 'read_users', 'DataError', 'Truth',
    'check_ml100k', 'check_splits', 'fold_split', 'get_latest_small', 'get_ml100k', 'my_ratings', 'random_split',
    'rating_dls', 'RatingDataLoaders', 'read_movielens', 'synth_ratings', 'time_split', 'tuning_split', 'DAMPING',
    'Means', 'tune_damping', 'compare_splits', 'split_interval', 'match_score', 'one_hot_lookup', 'DotProduct',
    'plain_fit', 'DotProductBias', 'l2_penalty', 'l2_step', 'decay_step', 'sweep_wd', 'train_one_cycle',
    'item_bias', 'factor_map', 'place_labels', 'neighbors', 'smallest_tables', 'ndcg_at_k', 'precision_at_k',
    'recall_at_k', 'hit_rate_at_k', 'coverage', 'popularity_bias', 'hold_out', 'top_k', 'pair_mask', 'evaluate',
    'Scores', 'popular', 'bootstrap', 'als_step', 'ials', 'ease', 'FoldedUser', 'ImplicitRecommender',
    'ItemRecommender', 'Recommender', 'RecommenderError', 'StarRecommender', 'has_genre', 'with_title']
