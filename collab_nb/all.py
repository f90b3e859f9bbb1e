"The library's names, and the three of fastai that one always needs: `from collab_nb.all import *`"

# Written by hand: nbdev would export nothing here. What would shadow a name of fastai's (`collab_nb.embedding.Embedding`,
# `collab_nb.baselines.mse`, `collab_nb.deep.valley`), parts of a model with names that say little alone (`collab_nb.record.Rows`), the sampler (`collab_nb.sampler`), the machinery of the course
# (`course`, `figures`, `scoreboard`) and optional extras stay in their modules.

from fastai.collab import Learner, MSELossFlat, set_seed

from collab_nb import (baselines as _baselines, bias as _bias, data as _data, deep as _deep, dot_product as _dot_product, evaluate as _evaluate, factors as _factors,
                       interpret as _interpret, recommend as _recommend, record as _record, weight_decay as _weight_decay)
from collab_nb.baselines import *
from collab_nb.bias import *
from collab_nb.data import *
from collab_nb.deep import *
from collab_nb.dot_product import *
from collab_nb.evaluate import *
from collab_nb.factors import *
from collab_nb.interpret import *
from collab_nb.recommend import *
from collab_nb.record import *
from collab_nb.weight_decay import *

__all__ = ['Learner', 'MSELossFlat', 'set_seed',
           *(name for module in (_data, _baselines, _factors, _dot_product, _bias, _weight_decay, _interpret, _recommend, _evaluate, _deep, _record) for name in module.__all__
             if name not in ('mse', 'valley', 'Rows', 'bag_sums', 'PRIOR', 'read_trials'))]
