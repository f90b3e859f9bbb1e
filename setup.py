"The metadata is in settings.ini; edit it there."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable']
extras = {k.removesuffix('_requirements'): v.split() for k,v in cfg.items() if k.endswith('_requirements')}

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'].split(),
    author=cfg['author'],
    license={'apache2': 'Apache-2.0'}[cfg['license']],
    classifiers=['Development Status :: ' + statuses[int(cfg['status'])-1], *cfg['classifiers'].strip().splitlines()],
    python_requires='>=' + cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    # collab_nb.tools builds and checks the course: it needs the repository, and stays out of the wheel
    packages=find_packages(include=[cfg['lib_name'], cfg['lib_name']+'.*'], exclude=[cfg['lib_name']+'.tools']),
    package_data={cfg['lib_name']: ['*.json', 'web/*']},
    include_package_data=False,     # MANIFEST.in is for the source distribution
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    entry_points={'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
                  'console_scripts': [f"{cfg['lib_name']}={cfg['lib_name']}.cli:main"]},
    zip_safe=False,
)
