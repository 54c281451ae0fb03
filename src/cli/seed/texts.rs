//! Made-up names and texts, all below 140 code points.

use super::draw::Draw;

const FIRST_NAMES: [&str; 32] = [
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kavya",
    "Lars", "Mina", "Noor", "Otto", "Priya", "Quentin", "Rosa", "Selim", "Tove", "Uma", "Viktor",
    "Wanda", "Xenia", "Yusuf", "Zoe", "Amara", "Björn", "Camille", "Diego", "Eun-ji", "Fatou",
];

const BIRDS: [&str; 32] = [
    "Heron", "Wren", "Starling", "Magpie", "Swift", "Plover", "Kestrel", "Finch", "Jay", "Owl",
    "Robin", "Lark", "Sparrow", "Crane", "Ibis", "Kite", "Martin", "Nuthatch", "Osprey", "Petrel",
    "Quail", "Raven", "Siskin", "Tern", "Thrush", "Warbler", "Avocet", "Bittern", "Curlew", "Dove",
    "Egret", "Falcon",
];

const OPENINGS: [&str; 16] = [
    "Good morning!",
    "Small news:",
    "Note to self:",
    "Today I learned that",
    "Nobody told me that",
    "Overheard on the tram:",
    "Unpopular opinion:",
    "Finally:",
    "Question for the garden people:",
    "It turns out that",
    "Reminder:",
    "Third coffee, and",
    "My neighbour swears that",
    "Sunday thought:",
    "Update from the balcony:",
    "Field notes:",
];

const SUBJECTS: [&str; 24] = [
    "the old clock tower",
    "my sourdough starter",
    "the night train",
    "a very small frog",
    "the library's red chair",
    "our bicycle bell",
    "the first tomato of the year",
    "a borrowed umbrella",
    "the fox behind the bakery",
    "this typewriter",
    "the harbour at six o'clock",
    "a map without a legend",
    "the neighbour's piano",
    "the compiler",
    "an unread letter",
    "the mountain hut",
    "a pocket full of chestnuts",
    "the lighthouse keeper",
    "a flock of starlings",
    "the corner kiosk",
    "my grandmother's recipe",
    "the last page",
    "a broken kite",
    "the pond",
];

const VERBS: [&str; 16] = [
    "looks better in the rain",
    "is louder than it has any right to be",
    "has a waiting list now",
    "still works after all these years",
    "needs a new name",
    "made my whole week",
    "is not where I left it",
    "deserves its own museum",
    "smells of summer",
    "was never meant for this",
    "has opinions",
    "is back, and it brought friends",
    "keeps better time than I do",
    "has been repaired with string",
    "turned out to be blue",
    "is open until midnight",
];

const CLOSINGS: [&str; 14] = [
    "",
    "",
    "",
    " Pictures later.",
    " No regrets.",
    " Who wants one?",
    " 🌿",
    " That is all.",
    " I have questions.",
    " Send tea.",
    " 🐦",
    " More tomorrow.",
    " Ask me how I know.",
    " Worth the walk.",
];

const REPLIES: [&str; 20] = [
    "This made me smile.",
    "I need to see that.",
    "Same here, since Tuesday.",
    "Please write a book about it.",
    "How long did it take?",
    "My brother says the opposite.",
    "Saving this for later.",
    "I walked past it yesterday!",
    "Strong words.",
    "Agreed, and with extra cheese.",
    "Where is this?",
    "You are not alone.",
    "Best thing I read all day.",
    "Hm. I am not convinced.",
    "Can I bring a friend?",
    "That is exactly what a heron would say.",
    "Congratulations!",
    "Wait, what?",
    "Counting on it.",
    "One more reason to move there. 🌊",
];

pub(super) fn nickname(draw: &mut Draw) -> String {
    format!("{} {}", draw.one_of(&FIRST_NAMES), draw.one_of(&BIRDS))
}

pub(super) fn tweet(draw: &mut Draw) -> String {
    let opening = draw.one_of(&OPENINGS);
    let subject = draw.one_of(&SUBJECTS);
    format!("{opening} {subject} {}.{}", draw.one_of(&VERBS), draw.one_of(&CLOSINGS))
}

pub(super) fn comment(draw: &mut Draw) -> String {
    draw.one_of(&REPLIES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_within_the_reference_limits() {
        let longest = |texts: &[&str]| texts.iter().map(|t| t.chars().count()).max().unwrap();
        let tweet =
            longest(&OPENINGS) + longest(&SUBJECTS) + longest(&VERBS) + longest(&CLOSINGS) + 3;
        assert!(tweet <= 140, "{tweet}");
        assert!(longest(&REPLIES) <= 140);
        let shortest = |texts: &[&str]| texts.iter().map(|t| t.chars().count()).min().unwrap();
        assert!(shortest(&OPENINGS) + shortest(&SUBJECTS) >= 6);
        assert!(shortest(&REPLIES) >= 6);
    }
}
