"""What people call the columns of their examples, in the languages we know some of."""

QUESTION = (
    "question", "questions", "prompt", "instruction", "instructions", "input", "query", "user", "human", "ask",
    "request", "user_message", "message", "problem", "q", "frage", "fragen", "anfrage", "eingabe", "pregunta",
    "preguntas", "consulta", "entrada", "demande", "requête", "requete", "domanda", "domande",
    "pergunta", "perguntas", "vraag", "вопрос", "питання", "pytanie", "soru", "fråga", "spørgsmål", "spørsmål",
    "kysymys", "otázka", "kérdés", "întrebare", "ερώτηση", "سؤال", "السؤال", "שאלה", "प्रश्न", "सवाल", "问题", "問題",
    "提问", "質問", "질문", "câu_hỏi", "pertanyaan", "คำถาม", "text", "title", "subject",
)  # fmt: skip
ANSWER = (
    "answer", "answers", "response", "responses", "output", "completion", "reply", "assistant", "solution", "target",
    "result", "bot", "gpt", "antwort", "antworten", "ausgabe", "respuesta", "respuestas", "salida", "réponse",
    "reponse", "réponses", "reponses", "risposta", "risposte", "resposta", "respostas", "antwoord", "ответ",
    "відповідь", "odpowiedź", "odpowiedz", "cevap", "yanıt", "svar", "vastaus", "odpověď", "odpoveď", "válasz",
    "răspuns", "απάντηση", "جواب", "الجواب", "إجابة", "תשובה", "उत्तर", "जवाब", "答案", "回答", "回复", "解答", "답변",
    "대답", "câu_trả_lời", "trả_lời", "jawaban", "คำตอบ", "a",
)  # fmt: skip
SYSTEM = ("system", "system_prompt", "system_message", "persona")
LABEL = (
    "label", "labels", "category", "class", "intent", "topic", "sentiment", "tag", "kategorie", "klasse", "catégorie",
    "categorie", "categoría", "categoria", "etichetta", "étiquette", "категория", "метка", "类别", "标签", "カテゴリ",
)  # fmt: skip
TEXT = ("text", "content", "document", "body", "passage", "paragraph", "article", "texte", "texto", "testo", "文本")
MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns", "history")
CHOSEN = ("chosen", "preferred", "preferred_output", "better", "winner", "accepted", "positive")
REJECTED = (
    "rejected", "non_preferred_output", "non_preferred", "dispreferred", "worse", "loser", "negative",
)  # fmt: skip
VERDICT = ("label", "verdict", "rating", "thumbs", "thumbs_up", "good", "feedback", "is_good", "liked")
TOOLS = ("tools", "functions")
ELSE = ("id", "timestamp", "date", "name", "email", "url", "source", "number", "index", "created_at", "product")

ALL = frozenset((*QUESTION, *ANSWER, *SYSTEM, *LABEL, *TEXT, *MESSAGES, *CHOSEN, *REJECTED, *VERDICT, *TOOLS, *ELSE))


def key(name: str) -> str:
    """The name as the lists above spell it: “Customer Question ” is “customer_question”."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
