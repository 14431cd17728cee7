"""Abbreviations by language: words whose final period rarely ends a sentence.

An entry in lower case matches any case; a capitalised one matches itself and ALL CAPS, so that `Gen.` is a general and
`gen.` is not.
"""

from typing import NamedTuple


class Abbreviations(NamedTuple):
    """The abbreviations of one language, and the words that usually begin its sentences."""

    before_names: frozenset[str]  # never end a sentence: Mr. Smith, cf. Chomsky
    before_numbers: frozenset[str]  # abbreviations only before a number: No. 5, but "No."
    ambiguous: frozenset[str]  # end a sentence only if the next word usually begins one
    openings: frozenset[str]  # words, in lower case, that begin sentences but hardly ever names

    def is_before_name(self, word: str) -> bool:
        """Tell whether the word is always followed by a name or an example."""
        return _listed(word, self.before_names)

    def is_before_number(self, word: str) -> bool:
        """Tell whether the word is an abbreviation if a number follows."""
        return _listed(word, self.before_numbers)

    def is_ambiguous(self, word: str) -> bool:
        """Tell whether the word occurs inside sentences as well as at their ends."""
        return _listed(word, self.ambiguous)


def abbreviations_of(language: str) -> Abbreviations:
    """Return the lists of a language, empty ones if it has none: then only the general rules apply."""
    return _BY_LANGUAGE.get(language, _NONE)


def _listed(word: str, entries: frozenset[str]) -> bool:
    return word in entries or word.lower() in entries or (word.isupper() and word.capitalize() in entries)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NONE = Abbreviations(frozenset(), frozenset(), frozenset(), frozenset())

_ENGLISH = Abbreviations(
    before_names=_words("""
        Mr Mrs Ms Mx Messrs Dr Drs Prof Gen Sen Rep Gov Capt Cpt Lt Col Maj Sgt Cpl Cmdr Adm Rev Hon Fr Mt
        Pres Supt Insp Amb e.g eg i.e cf vs v viz incl resp ibid
    """),
    before_numbers=_words("""
        no nos art arts p pp vol vols fig figs ch chap sec sect par para eq eqn ed tab app approx ca c op cl
        Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec tel ext max min temp
    """),
    ambiguous=_words("""
        St Ste Ave Blvd Rd Ft Inc Ltd Corp Co Bros Jr Sr Esq Univ Dept Est Assn Mon Tue Tues Wed Thu Thurs Fri
        al dept est govt assoc intl misc
    """),
    openings=_words("""
        the this that these those a an it he she they we you i there here in on at by for from to of with
        without when while if but and or so as after before although though however then what who why how
        where which our their his her its my your some many most all both each every no not one yet also
        another since until because during under over despite is are was were do does did can will would
        please let meanwhile moreover nevertheless therefore thus today yesterday
    """),
)

_SPANISH = Abbreviations(
    before_names=_words("""
        Sr Sra Srta Sres Sras Dr Dra Dres Dras D Dña Don Doña Prof Profa Lic Ing Arq Gral Gen Tte Cap Cnel Col
        Sgto Cmte Mons Fr Sto Sta S Excmo Excma Ilmo Ilma Avda Av Pdte Pdta p.ej ej vs cf
    """),
    before_numbers=_words("""
        a d art arts núm núms num nums n no p pp pág págs pag pags vol vols fig figs cap caps sec párr apdo s ss
        tel tfno teléf ext aprox máx mín ed t tít ene feb mar abr jun jul ago sep sept oct nov dic
    """),
    ambiguous=_words("""
        Ud Uds Vd Vds Cía Ltda Hnos Univ Dpto Depto Admón Gob Bco Soc dpto depto admón izq izda dcha prov
        EE UU
    """),
    openings=_words("""
        el la los las un una unos unas lo este esta esto estos estas ese esa eso esos esas aquel aquella
        aquello él ella ellos ellas yo tú usted ustedes nosotros se su sus mi mis tu tus nuestro nuestra en con por para
        pero y e o u ni si sí no cuando como cómo donde dónde qué quién quiénes cuál desde tras según también
        además sin sobre entre hasta hacia durante hay ya más muy todo toda todos todas cada otro otra al del
        a de que porque aunque mientras entonces así después luego antes ahora hoy ayer es son fue fueron ha han
    """),
)

_FRENCH = Abbreviations(
    before_names=_words("""
        M MM Mr Mme Mmes Mlle Mlles Dr Drs Pr Prof Me Mgr Sgt Cdt Gal Gén Col Lt Cne Cap Abbé St Ste Vve
        p.ex ex cf c.-à-d càd av apr vs éd éds trad coll bd resp
    """),
    before_numbers=_words("""
        art arts n no nos num p pp vol vols fig figs chap ch t tab al par sect ann éq env tél poste max min
        janv févr fév mar avr juil sept oct nov déc
    """),
    ambiguous=_words("Cie Sté Ets Éts Inc Ltd Univ Dép dép dépt all boul hab suiv"),
    openings=_words("""
        le la les l' un une des ce cet cette ces c' cela ceci ça il elle ils elles on nous vous je j' tu qui que
        qu' quoi quel quelle quels quelles en dans pour par avec sans sur sous chez vers entre mais et ou si s'
        ne n' quand comme comment pourquoi où lorsque lorsqu' après avant depuis pendant selon son sa ses mon ma
        mes leur leurs notre nos votre vos à au aux de du d' tout toute tous toutes chaque aucun plusieurs même
        certains aussi ainsi alors puis donc car cependant toutefois enfin oui non est sont était y aujourd'
        bien
    """),
)

_BY_LANGUAGE = {"en": _ENGLISH, "es": _SPANISH, "fr": _FRENCH}
