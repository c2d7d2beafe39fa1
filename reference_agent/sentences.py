"""In which words are people told that they do not get what they asked for? By code and language; the persona says them.

What only the author of a calling program can put right (no JSON, a field that is missing) is not here: it is said in
English and as it is, where it is found.
"""

from __future__ import annotations

from collections.abc import Mapping

from reference_agent.caller import Language

Sentences = tuple[str, ...]
"""What is said, sentence by sentence, the most telling one first, without full stops: the persona ends them its way."""

_BUSY: Mapping[Language, Sentences] = {
    "ja": ("いまとても混んでいる", "すこし後で話しかけて"),
    "ko": ("지금 너무 바빠요", "조금 뒤에 다시 말해 줘요"),
    "en": ("I am very busy", "Try again soon"),
    "de": ("Zu viel los", "Komm gleich wieder"),
    "fr": ("Trop de monde", "Reviens bientôt"),
    "es": ("Hay mucha gente", "Vuelve en un rato"),
}
_FAILED: Mapping[Language, Sentences] = {
    "ja": ("ごめん、答えられなかった",),
    "ko": ("미안해요, 대답하지 못했어요",),
    "en": ("Sorry, I could not answer",),
    "de": ("Entschuldige, das ging nicht",),
    "fr": ("Désolé, je n'ai pas pu répondre",),
    "es": ("Perdona, no pude responder",),
}
UNAVAILABLE = "unavailable"
"""Under which it is found what is said for every upstream that does not do its work."""
_SENTENCES: Mapping[str, Mapping[Language, Sentences]] = {
    "message_too_long": {
        "ja": ("メッセージは{most}文字までにして",),
        "ko": ("메시지는 {most}자까지만 보내 줘요",),
        "en": ("At most {most} characters, please",),
        "de": ("Bitte höchstens {most} Zeichen",),
        "fr": ("{most} caractères au plus",),
        "es": ("Como mucho {most} caracteres",),
    },
    "message_empty": {
        "ja": ("なにか話しかけて",),
        "ko": ("뭐라도 말해 줘요",),
        "en": ("Please say something",),
        "de": ("Bitte sag etwas",),
        "fr": ("Dis-moi quelque chose",),
        "es": ("Dime algo",),
    },
    "rate_limited": {
        "ja": ("ちょっと早すぎる", "すこし待って"),
        "ko": ("너무 빨라요", "조금만 기다려 줘요"),
        "en": ("That is too fast", "Wait a little"),
        "de": ("Das ist zu schnell", "Warte kurz"),
        "fr": ("C'est trop rapide", "Attends un peu"),
        "es": ("Vas muy rápido", "Espera un poco"),
    },
    "busy": _BUSY,
    "busy_for_newcomers": _BUSY,
    "queue_full": _BUSY,
    "full": {
        "ja": ("いまは満員", "すこし後で話しかけて"),
        "ko": ("지금은 자리가 없어요", "조금 뒤에 다시 말해 줘요"),
        "en": ("No room now", "Try again soon"),
        "de": ("Alles voll", "Komm gleich wieder"),
        "fr": ("C'est complet", "Reviens bientôt"),
        "es": ("Está todo lleno", "Vuelve en un rato"),
    },
    "one_at_a_time": {
        "ja": ("ひとつずつ話して",),
        "ko": ("하나씩 말해 줘요",),
        "en": ("One thing at a time",),
        "de": ("Eins nach dem anderen",),
        "fr": ("Une chose à la fois",),
        "es": ("De una en una",),
    },
    "too_many_jobs": {
        "ja": ("まだ考えている", "すこし待って"),
        "ko": ("아직 생각하고 있어요", "조금만 기다려 줘요"),
        "en": ("I am still thinking", "Wait a little"),
        "de": ("Ich denke noch nach", "Warte kurz"),
        "fr": ("Je réfléchis", "Attends un peu"),
        "es": ("Aún estoy pensando", "Espera un poco"),
    },
    "budget_spent": {
        "ja": ("今日はもうお店じまい", "また明日"),
        "ko": ("오늘은 문을 닫았어요", "내일 또 봐요"),
        "en": ("Done for today", "See you tomorrow"),
        "de": ("Für heute ist Schluss", "Bis morgen"),
        "fr": ("C'est fini pour ce jour", "À demain"),
        "es": ("Por hoy he terminado", "Hasta mañana"),
    },
    "user_budget_spent": {
        "ja": ("今日はたくさん話した", "また明日"),
        "ko": ("오늘은 많이 이야기했어요", "내일 또 봐요"),
        "en": ("We talked a lot", "See you tomorrow"),
        "de": ("Heute war es viel", "Bis morgen"),
        "fr": ("On a bien parlé", "À demain"),
        "es": ("Hoy hablamos mucho", "Hasta mañana"),
    },
    "shutting_down": {
        "ja": ("少し席を外す", "すぐ別の猫が来る"),
        "ko": ("잠깐 자리를 비워요", "곧 다른 고양이가 와요"),
        "en": ("I have to go", "Another cat comes"),
        "de": ("Ich muss weg", "Gleich kommt wer"),
        "fr": ("Je dois partir", "Un chat arrive"),
        "es": ("Tengo que irme", "Viene otro gato"),
    },
    UNAVAILABLE: {
        "ja": ("いまは考えられない", "すこし後で話しかけて"),
        "ko": ("지금은 생각할 수 없어요", "조금 뒤에 다시 말해 줘요"),
        "en": ("I cannot think now", "Try again soon"),
        "de": ("Mein Kopf ist leer", "Bis gleich"),
        "fr": ("Ma tête est vide", "Reviens bientôt"),
        "es": ("No puedo pensar", "Vuelve en un rato"),
    },
    "out_of_time": {
        "ja": ("時間切れ", "もう一度話しかけて"),
        "ko": ("시간이 다 됐어요", "다시 한번 말해 줘요"),
        "en": ("Time is up", "Please say it again"),
        "de": ("Die Zeit ist um", "Sag es noch mal"),
        "fr": ("Le temps est écoulé", "Redis-le-moi"),
        "es": ("Se acabó el tiempo", "Dilo otra vez"),
    },
    "conversation_gone": {
        "ja": ("話をわすれちゃった", "もう一度話しかけて"),
        "ko": ("이야기를 잊어버렸어요", "다시 한번 말해 줘요"),
        "en": ("I forgot it all", "Say it again"),
        "de": ("Alles vergessen", "Sag es noch mal"),
        "fr": ("J'ai tout oublié", "Redis-le-moi"),
        "es": ("Lo olvidé todo", "Dilo otra vez"),
    },
    "generation_failed": {
        "ja": ("うまく考えられなかった",),
        "ko": ("생각이 잘 나지 않았어요",),
        "en": ("I could not think of an answer",),
        "de": ("Mir ist nichts eingefallen",),
        "fr": ("Je n'ai rien trouvé",),
        "es": ("No se me ocurrió nada",),
    },
    "internal": {
        "ja": ("なにかがおかしい", "調べておく"),
        "ko": ("뭔가 이상해요", "알아볼게요"),
        "en": ("Something is wrong", "I look into it"),
        "de": ("Etwas stimmt nicht", "Ich sehe nach"),
        "fr": ("Quelque chose cloche", "Je regarde"),
        "es": ("Algo va mal", "Voy a mirarlo"),
    },
    "waited_too_long": _FAILED,
    "workers_died": _FAILED,
}


def sentences(code: str, language: Language) -> Sentences:
    """Return what somebody is told, in their language.

    Args:
        code: the word for machines; `<upstream>_unavailable` is the same for every upstream.
        language: of the one who is told.

    Raises:
        KeyError: nobody has put it into words.
    """
    return _SENTENCES[UNAVAILABLE if code.endswith(f"_{UNAVAILABLE}") else code][language]
