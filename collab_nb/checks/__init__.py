"The engine behind the exercises: what an exercise is, how an answer is tried, and what the learner is told."
from .cards import LOOKS, Card, Verdict
from .compare import difference
from .diagnosis import diagnose
from .exercise import Exercise, all_exercises, bare_source, find_exercise
from .calls import check, hint, passed, progress, progress_file, solution
from .marking import NumberedNotebook, judge_marks, read_original, score_marks

__all__ = ['LOOKS', 'Card', 'Exercise', 'NumberedNotebook', 'Verdict', 'all_exercises', 'bare_source', 'check',
           'diagnose', 'difference', 'find_exercise', 'hint', 'judge_marks', 'passed', 'progress', 'progress_file',
           'read_original', 'score_marks', 'solution']
