"""Sentences of a few topics, for a task: each one's nearest neighbour should be of its topic."""

from __future__ import annotations

__all__ = ["SENTENCES", "TOPICS"]

_BY_TOPIC = {
    "weather": """
        Heavy rain is expected along the coast tomorrow.
        The storm brought thunder and strong wind all night.
        It will be sunny and warm for the rest of the week.
        Snow fell on the hills before dawn.
        The forecast promises clear skies in the afternoon.
        A cold front will lower temperatures by ten degrees.
        Thick fog covered the valley this morning.
        Dry summers make droughts more likely here.""",
    "cooking": """
        Simmer the tomatoes with garlic for twenty minutes.
        Whisk the eggs before you add the flour.
        Season the soup with salt, pepper and a little lemon.
        The bread dough has to rise in a warm place.
        Roast the vegetables until their edges are brown.
        Melt the butter slowly and stir in the sugar.
        This sauce goes well with fresh pasta.
        Slice the onions thinly and fry them in oil.""",
    "football": """
        The striker scored twice in the second half.
        Our goalkeeper saved a penalty in the last minute.
        The referee showed the defender a red card.
        They lost the final after extra time.
        The coach changed the line-up before the match.
        Fans sang in the stadium long after the whistle.
        The midfielder passed the ball across the pitch.
        The team moved up to third place in the league.""",
    "medicine": """
        The doctor prescribed antibiotics for the infection.
        Her blood pressure was higher than it should be.
        Patients recovered quickly after the operation.
        The vaccine protects against several strains of the virus.
        A nurse changed the bandage on his knee.
        Symptoms include fever, cough and headache.
        The clinic offers free eye examinations.
        Surgeons replaced the damaged heart valve.""",
    "computing": """
        The program crashed because it ran out of memory.
        Rounding errors grow with the length of the sum.
        She compiled the kernel with optimisations turned on.
        The database answers thousands of queries a second.
        A bug in the parser corrupted the file.
        The new processor multiplies matrices in low precision.
        Back up your data before you install the update.
        The algorithm sorts a list in linear time.""",
    "music": """
        The violinist played a slow melody.
        The orchestra tuned its instruments before the concert.
        He wrote a song for piano and voice.
        The drummer keeps a steady rhythm.
        Their new album was recorded in an old church.
        The choir sang in four parts.
        She practises scales on the guitar each morning.
        The opera ends with a long duet.""",
    "money": """
        The bank raised its interest rate again.
        Shares fell sharply when the market opened.
        She pays her rent at the beginning of the month.
        The company reported a profit for the third year.
        Inflation makes groceries more expensive.
        He borrowed money to buy a flat.
        Taxes on fuel will increase next year.
        The investors sold their bonds at a loss.""",
    "travel": """
        The train to the airport leaves every half hour.
        We booked a hotel near the old harbour.
        Passengers have to show their passports at the border.
        The flight was delayed by three hours.
        Our guide led us through the narrow streets.
        They crossed the island by bicycle.
        Pack light clothes for the trip to the desert.
        The ferry sails twice a day in summer.""",
}

#: The sentences.
SENTENCES: tuple[str, ...] = tuple(line.strip() for text in _BY_TOPIC.values() for line in text.strip().splitlines())

#: The topic of each sentence.
TOPICS: tuple[str, ...] = tuple(topic for topic, text in _BY_TOPIC.items() for _ in text.strip().splitlines())
