"Files of any shape: what's read, what's said about it, and what's refused"
import gzip
import os

import pandas as pd
import pytest
from hypothesis import example,given,settings
from hypothesis import strategies as st

from collab_nb.files import (FileError,match_titles,read_items_file,read_movielens,read_own_ratings,
                             read_ratings_file)

@pytest.fixture
def file(tmp_path):
    "Writes a file of text or bytes"
    def write(data, name='ratings.csv'):
        (tmp_path/name).write_bytes(data if isinstance(data, bytes) else data.encode('utf-8'))
        return tmp_path/name
    return write

# What's read

ROWS = [(1, 10, 4.5), (1, 11, 3.0), (2, 10, 1.0)]

def rows(read): return list(read.table[['user', 'item', 'rating']].itertuples(index=False, name=None))

@pytest.mark.parametrize('text', [
    'user,item,rating\n1,10,4.5\n1,11,3\n2,10,1\n',
    'userId,movieId,rating,timestamp\n1,10,4.5,964982703\n1,11,3.0,964981247\n2,10,1.0,964982224\n',     # MovieLens
    'user_id;item_id;stars\n1;10;4,5\n1;11;3,0\n2;10;1,0\n',     # a German spreadsheet
    'user\titem\tscore\r\n1\t10\t4.5\r\n1\t11\t3\r\n2\t10\t1\r\n',
    '\ufeffUser ID,Item ID,Rating\n1,10,4.5\n1,11,3\n2,10,1',     # a byte order mark, and no end of line
    '"user","item","rating"\n"1","10","4.5"\n"1","11","3"\n"2","10","1"\n',
    '1::10::4.5::964982703\n1::11::3::964981247\n2::10::1::964982224\n',     # MovieLens-1M
    '1\t10\t4.5\t964982703\n1\t11\t3\t964981247\n2\t10\t1\t964982224\n',     # MovieLens-100k
    'rating|item|user\n4.5|10|1\n3|11|1\n1|10|2\n',
    'user,item,rating\n\n1,10,4.5\n\n1,11,3\n2,10,1\n\n',
    ' user , item , rating \n 1 , 10 , 4.5 \n 1 , 11 , 3 \n 2 , 10 , 1 \n',
], ids=['plain', 'movielens', 'semicolons', 'tabs', 'bom', 'quotes', 'colons', 'no header', 'bars', 'blank lines',
        'spaces'])
def test_the_same_ratings_in_many_formats(file, text):
    assert rows(read_ratings_file(file(text))) == ROWS

def test_compressed_and_other_encodings(file):
    text = 'user,item,rating\n1,Amélie,4.5\n'
    for data in (gzip.compress(text.encode()), text.encode('utf-16'), text.encode('cp1252')):
        assert read_ratings_file(file(data)).table['item'].tolist() == ['Amélie']
    assert 'Windows-1252' in read_ratings_file(file(text.encode('cp1252'))).notes[0]

@pytest.mark.parametrize('ids', [['007', '8'], ['1.0', '2'], ['日本', '😀'], ['1'*40, '2'], ['-5', 'a b']])
def test_ids_are_kept_as_they_were_written(file, ids):
    text = 'user,item,rating\n' + ''.join(f'{i},1,3\n' for i in ids)
    assert read_ratings_file(file(text)).table.user.tolist() == ids

def test_whole_numbers_are_numbers(file):
    table = read_ratings_file(file('user,item,rating\n0,-7,3\n12,5,4\n')).table
    assert table.user.dtype == table['item'].dtype == 'int64' and table['item'].tolist() == [-7, 5]

@pytest.mark.parametrize('ratings', [[.5, 5], [1, 10], [-1, 1], [0, 100]])
def test_any_scale(file, ratings):
    text = 'user,item,rating\n' + ''.join(f'{k},{k},{r}\n' for k,r in enumerate(ratings))
    assert read_ratings_file(file(text)).table.rating.tolist() == ratings

def test_parquet(file, tmp_path):
    pl = pytest.importorskip('polars')
    path,items = tmp_path/'r.parquet',[10, 11, 10]
    pl.DataFrame({'userId': [1, 1, 2], 'movieId': items, 'rating': [4.5, 3, 1]}).write_parquet(path)
    assert rows(read_ratings_file(path)) == ROWS
    pl.DataFrame({'userId': [1, None, 2], 'movieId': items, 'rating': [4.5, 3, 1]}).write_parquet(path)
    with pytest.raises(FileError, match="column 'userId'.*the user is missing"): read_ratings_file(path)
    with pytest.raises(FileError, match='not a Parquet file'): read_ratings_file(file(b'PAR1junk', 'x.parquet'))

# What's said

def test_what_was_guessed_is_said(file):
    read = read_ratings_file(file('visitorid,itemid,plays\na,x,3\nb,x,1\n'))
    assert read.columns == {'user': 'visitorid', 'item': 'itemid', 'weight': 'plays'}
    assert read.notes == ["read 'visitorid' as user, 'itemid' as item, 'plays' as weight"]
    assert read_ratings_file(file('user,item,rating\n1,1,1\n2,2,2\n')).notes == []

def test_the_latest_rating_counts(file):
    read = read_ratings_file(file('user,item,rating,time\n1,1,5,200\n2,1,4,50\n1,1,3,100\n'))
    assert rows(read) == [(1, 1, 5), (2, 1, 4)] and 'later' in read.notes[0]
    assert rows(read_ratings_file(file('user,item,rating\n1,1,5\n2,1,4\n1,1,3\n'))) == [(2, 1, 4), (1, 1, 3)]

def test_clicks_may_repeat(file): assert len(read_ratings_file(file('user,item\n1,1\n1,1\n')).table) == 2

def test_equal_ratings_are_pointed_out(file):
    assert 'all ratings are 3' in read_ratings_file(file('user,item,rating\n1,1,3\n2,1,3\n')).notes[0]

def test_times_are_seconds_or_dates(file):
    dates = read_ratings_file(file('user,item,date\n1,1,2024-05-01\n1,2,2024-05-02T10:00:00Z\n')).table.time
    assert dates.tolist() == [pd.Timestamp('2024-05-01'), pd.Timestamp('2024-05-02 10:00')]
    with pytest.raises(FileError, match="column 'date', line 2: the time must be seconds or a date, got 'soon'"):
        read_ratings_file(file('user,item,date\n1,1,soon\n'))

# What's refused, in one line

@pytest.mark.parametrize('text, said', [
    ('', 'is empty'), (' \n\n', 'is empty'), ('user,item,rating\n', 'has a header and no rows'),
    ('user,item,rating\n1,2,nan\n', "line 2: the rating must be a number, got 'nan'"),
    ('user,item,rating\n1,2,3\n1,3,-inf\n', "line 3: the rating must be a number, got '-inf'"),
    ('user,item,rating\n1,2,good\n1,3,bad\n', "got 'good' \\(and 1 more\\)"),
    ('user,item,rating\n1,,3\n', "column 'item', line 2: the item is missing"),
    ('user,item,rating\n1,2\n', 'line 2: there must be 3 columns, got 2'),
    ('user,item,rating\n1,"a\nb",3\n1,2,3,4\n', 'line 4: there must be 3 columns, got 4'),
    ('user,item,rating\n1,"a,3\n', 'line 2: unexpected end of data'),
    ('user,stars,score\n1,2,3\n', "'stars', 'score' could each be the rating; say which: rating="),
    ('a,b,c\n1,2,3\n', "no column for the user; its columns are 'a', 'b', 'c'"),
    ('user,user,item\n1,2,3\n', "two columns are called 'user'"),
    ('1,2,3,4,5\n', 'no header and 5 columns'), ('hello\nworld\n', 'at least two columns'),
    (b'\x00\x01\x02', 'not a table of text'), (b'\x1f\x8bjunk', 'compressed, but damaged'),
    (b'\x89PNG\r\n\x1a\n\x00\x00', 'not a table of text'),
])
def test_one_clear_line(file, text, said):
    with pytest.raises(FileError, match=said) as e: read_ratings_file(file(text))
    assert '\n' not in str(e.value) and 'ratings.csv' in str(e.value)

def test_folders_and_missing_files(tmp_path):
    with pytest.raises(FileError, match='is a folder'): read_ratings_file(tmp_path)
    with pytest.raises(FileError, match='no such file'): read_ratings_file(tmp_path/'none.csv')

@pytest.mark.skipif(os.name == 'nt' or not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root reads all')
def test_no_permission(file):
    path = file('user,item\n1,2\n')
    path.chmod(0)
    with pytest.raises(FileError, match='no permission'): read_ratings_file(path)

def test_names_that_are_wrong(file):
    path = file('who,what,rating\n1,2,3\n')
    with pytest.raises(FileError, match="user must be one of its columns"): read_ratings_file(path, user='whom')
    with pytest.raises(FileError, match="user and item must be two columns"):
        read_ratings_file(path, user='who', item='who')
    assert rows(read_ratings_file(path, user='who', item='what')) == [(1, 2, 3)]

# Hypothesis: whatever is in a file, there's a table or a FileError

cells = st.one_of(st.integers(-5, 500).map(str), st.floats(width=16).map(str), st.text(max_size=6),
                  st.sampled_from(['', '007', 'user', 'rating', '"', ',', ';', '::', '\t', '3,5', '1e999', 'NaN']))
tables = st.lists(st.lists(cells, min_size=1, max_size=5), min_size=1, max_size=6)

def anything(path, data):
    path.write_bytes(data)
    for read in (read_ratings_file, read_items_file, read_own_ratings):
        try: table = read(path).table
        except FileError as e: assert '\n' not in str(e).replace(repr(data), '')
        else: assert table['item'].notna().all() and ('rating' not in table or table.rating.notna().all())

@settings(max_examples=150, deadline=None)
@given(table=tables, sep=st.sampled_from([',', ';', '\t', '::', '|']),
       header=st.sampled_from(['', 'user,item,rating', 'item,title']))
def test_tables_of_anything(tmp_path_factory, table, sep, header):
    text = '\n'.join([header.replace(',', sep)]*bool(header) + [sep.join(row) for row in table])
    anything(tmp_path_factory.getbasetemp()/'table.csv', text.encode('utf-8', 'surrogatepass'))

@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"PAR1")
def test_bytes_of_anything(tmp_path_factory, data): anything(tmp_path_factory.getbasetemp()/'bytes.csv', data)

# Items, and one person's ratings

ITEMS = pd.DataFrame({'item': range(1, 8), 'title': [
    'Toy Story (1995)', 'American President, The (1995)', 'Sabrina (1954)', 'Sabrina (1995)',
    'Seven (a.k.a. Se7en) (1995)', 'Misérables, Les (1998)', '12 Monkeys (1995)']})

@pytest.mark.parametrize('title, year, item', [
    ('The American President', 1995, 2), ('american president', 1995, 2), ('Sabrina', 1954, 3), ('Sabrina', 1955, 3),
    ('Sabrina', None, None), ('Sabrina (1995)', None, 4), ('Se7en', 1995, 5), ('Seven', 1995, 5),
    ('Les Miserables', 1998, 6), ('12 Monkeys', 1996, 7), ('12 Monkeys', 1999, None), ('Nowhere', 1995, None),
    ('', None, None), ('The', None, None)])
def test_titles(title, year, item):
    assert match_titles(pd.DataFrame({'title': [title], 'year': [year]}), ITEMS).tolist() == [item]

def test_letterboxd(file):
    text = ('Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,The American President,1995,https://boxd.it/1,3.5\n'
            '2024-01-03,"Sabrina, again",1954,https://boxd.it/2,5\n2024-01-03,Seven,1995,https://boxd.it/3,.5\n')
    read = read_own_ratings(file(text), ITEMS)
    assert read.table.values.tolist() == [[2, 3.5], [5, .5]]
    assert any('1 title not found: Sabrina, again (1954)' in n for n in read.notes)

def test_own_ratings_by_id_and_repeats(file):
    read = read_own_ratings(file('movieId,rating\n5,1\n6,2\n5,4\n'))
    assert read.table.values.tolist() == [[6, 2], [5, 4]] and 'there more than once' in read.notes[-1]

def test_items(file):
    read = read_items_file(file('movieId,title,genres\n1,"Good, the Bad and the Ugly, The (1966)",Western|War\n2,A,\n'))
    assert read.table.values.tolist() == [[1, 'Good, the Bad and the Ugly, The (1966)', 'Western|War'], [2, 'A', '']]
    with pytest.raises(FileError, match='line 3: each item must have one row, got 1 again'):
        read_items_file(file('item,title\n1,A\n1,B\n'))

# MovieLens in its layouts

FLAGS = '|'.join('0'*19)
LAYOUTS = {
    '100k': {'u.data': '196\t242\t3\t881250949\n186\t302\t5\t891717742\n196\t302\t1\t881250950\n',
             'u.item': f'242|Misérables, Les (1995)|01-Jan-1995||http://x|{FLAGS}\n'
                       f'302|Kolya, "The" (1996) ||||{FLAGS}\n'},
    '1M': {'ratings.dat': '1::242::3::881250949\n2::302::5::891717742\n1::302::1::881250950\n',
           'movies.dat': '242::Misérables, Les (1995)::Drama|Musical\n302::Kolya, "The" (1996)::Comedy\n'},
    'latest': {'ratings.csv': 'userId,movieId,rating,timestamp\n1,242,3.0,881250949\n2,302,4.5,891717742\n'
                              '1,302,0.5,881250950\n',
               'movies.csv': 'movieId,title,genres\n242,"Misérables, Les (1995)",Drama|Musical\n'
                             '302,"Kolya, ""The"" (1996)",Comedy\n'}}

@pytest.fixture
def movielens(tmp_path):
    "Writes one or more of the layouts into a folder; `other` replaces files, or leaves them out"
    def write(*names, end='\n', **other):
        for name in names:
            for file,text in LAYOUTS[name].items():
                text = other.get(file.replace('.', '_'), text)
                coding = 'utf-8' if file.endswith('csv') else 'latin-1'
                if text is not None: (tmp_path/file).write_bytes(text.replace('\n', end).encode(coding))
        return tmp_path
    return write

@pytest.mark.parametrize('end', ['\n', '\r\n'], ids=['lf', 'crlf'])
@pytest.mark.parametrize('name', LAYOUTS)
def test_each_layout_of_movielens(movielens, name, end):
    table = read_movielens(movielens(name, end=end))
    assert list(table.columns) == ['user', 'movie', 'rating', 'timestamp', 'title']
    assert table.title.tolist() == ['Misérables, Les (1995)', *['Kolya, "The" (1996)']*2]
    assert table.movie.tolist() == [242, 302, 302] and table.timestamp.tolist() == [881250949, 891717742, 881250950]
    assert table.rating.tolist() == ([3, 4.5, .5] if name == 'latest' else [3, 5, 1])

def test_movielens_of_ten_million_has_half_stars_and_utf8(movielens):
    folder = movielens('1M', ratings_dat='1::242::3.5::881250949\n')
    (folder/'movies.dat').write_text('242::7::Up :: 😀 (2009)::Drama|IMAX\n', encoding='utf-8')
    table = read_movielens(str(folder))
    assert table.rating.tolist() == [3.5] and table.title.tolist() == ['7::Up :: 😀 (2009)']

def test_the_same_table_as_chapter_00s(path, ratings):
    pd.testing.assert_frame_equal(read_movielens(path), ratings)

def test_a_folder_without_movielens(movielens, tmp_path):
    with pytest.raises(ValueError, match=r'u.data and u.item \(100k\); ratings.dat and .* got no file of ratings'):
        read_movielens(tmp_path)
    with pytest.raises(ValueError, match='is not a folder; name one that holds MovieLens: u.data and u.item'):
        read_movielens(tmp_path/'nowhere')
    movielens('latest', ratings_csv=None)     # movies alone
    with pytest.raises(ValueError, match='got no file of ratings'): read_movielens(tmp_path)

def test_a_folder_with_two_layouts(movielens):
    with pytest.raises(ValueError, match='must hold one MovieLens data set, .* got u.data, ratings.csv'):
        read_movielens(movielens('100k', 'latest'))

@pytest.mark.parametrize('name, file', [('100k', 'u.item'), ('1M', 'movies.dat'), ('latest', 'movies.csv')])
def test_movielens_without_its_movies(movielens, name, file):
    with pytest.raises(ValueError, match=f'but no {file}'):
        read_movielens(movielens(name, **{file.replace('.', '_'): None}))

def spoiled(name, k, line, n=2):
    "The k-th file of a layout with another n-th line"
    file,text = list(LAYOUTS[name].items())[k]
    lines = text.split('\n')
    lines[n-1] = line
    return {file.replace('.', '_'): '\n'.join(lines)}

@pytest.mark.parametrize('name, line, says', [
    ('100k', '186\t302\t5', 'u.data, line 2: there must be 4 columns, got 3'),
    ('100k', '186\t302\t5\t891717742\t7', 'u.data, line 2: there must be 4 columns, got 5'),
    ('100k', '186\tx\t5\t891717742', "u.data, column 'item', line 2: the item must be a whole number, got 'x'"),
    ('100k', '186\t302\tfive\t891717742', "u.data, column 'rating', line 2: the rating must be a number, got 'five'"),
    ('100k', '186\t302\t50\t891717742', 'u.data, rating 2: it must be 0.5 to 5 stars, got 50'),
    ('1M', '2::302::5::', "ratings.dat, column 'time', line 2: the time must be a whole number, got ''"),
    ('1M', '2::302:5::891717742', 'ratings.dat, line 2: there must be 4 columns, got 3'),
    ('latest', '1,242,3.0', 'ratings.csv, line 2: there must be 4 columns, got 3'),
    ('latest', '1,242,,881250949', 'ratings.csv, rating 1: it must be 0.5 to 5 stars, got nan'),
    ('latest', '1,242.5,3.0,881250949',
     "ratings.csv, column 'movieId', line 2: the item must be a whole number, got '242.5'"),
])
def test_a_damaged_line_of_ratings(movielens, name, line, says):
    with pytest.raises(ValueError, match=says): read_movielens(movielens(name, **spoiled(name, 0, line)))

@pytest.mark.parametrize('name, line, says', [
    ('100k', '302|Kolya (1996)|0', r'u.item, line 2: there must be a whole number, a title and 22 more'),
    ('100k', f'242|Misérables, Les (1995)||||{FLAGS}', 'u.item, line 2: each movie must have one row, got 242 again'),
    ('100k', '', 'u.item must have a title for each movie in u.data, but 1 of 2 are missing, such as 302'),
    ('1M', '302::Kolya (1996)', 'movies.dat, line 2: there must be a whole number, a title and 1 more'),
    ('1M', 'x::Kolya (1996)::Drama', 'movies.dat, line 2: there must be a whole number'),
    ('latest', '242,"Misérables, Les (1995),Drama', 'movies.csv, line 3'),
    ('latest', '242,Misérables, Les (1995),Drama', 'movies.csv, line 2: there must be 3 columns, got 4'),
])
def test_a_damaged_line_of_movies(movielens, name, line, says):
    with pytest.raises(ValueError, match=says): read_movielens(movielens(name, **spoiled(name, 1, line)))

def test_movielens_csv_with_other_columns_or_no_rows(movielens):
    with pytest.raises(ValueError, match='its columns must be userId, movieId, rating, timestamp'):
        read_movielens(movielens('latest', ratings_csv='user,item,rating\n1,242,3\n'))
    with pytest.raises(ValueError, match='ratings.csv is empty'): read_movielens(movielens('latest', ratings_csv=''))
    with pytest.raises(ValueError, match='ratings.csv has a header and no rows'):
        read_movielens(movielens('latest', ratings_csv='userId,movieId,rating,timestamp\n'))
    extra = 'userId,movieId,rating,timestamp\n1,242,3.0,881250949,9\n'
    with pytest.raises(ValueError, match='line 2: there must be 4 columns, got 5'):
        read_movielens(movielens('latest', ratings_csv=extra))
