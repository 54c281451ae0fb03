//! Names of photos: what a URL may look like, and what it never may.

use object_store::path::Path;

/// First segment of every photo's URL.
const PREFIX: &str = "/media/";

/// Length of the random segment: 16 bytes in hexadecimal.
const RANDOM_LENGTH: usize = 32;

/// Longest stem.
const STEM_LENGTH: usize = 64;

/// What a photo is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Opaque photos.
    Jpeg,
    /// Photos with transparency.
    Png,
}

impl Format {
    /// The extension of its names.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
        }
    }

    /// Its Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
        }
    }
}

/// The two last segments of a photo's URL, proven to be harmless: nothing but
/// `[0-9a-f]{32}/[A-Za-z0-9_-]{1,64}.(jpg|png)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPath {
    random: String,
    stem: String,
    format: Format,
}

impl MediaPath {
    /// A path that nobody can guess, for a file that its sender calls `file_name`.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn random(file_name: &str, format: Format) -> Result<MediaPath, getrandom::Error> {
        let mut bytes = [0; RANDOM_LENGTH / 2];
        getrandom::fill(&mut bytes)?;
        let random = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(MediaPath { random, stem: stem(file_name), format })
    }

    /// Reads the path of a URL. `None` unless it is exactly of the form that
    /// [`MediaPath::url`] writes.
    pub fn parse(url: &str) -> Option<MediaPath> {
        let (random, name) = url.strip_prefix(PREFIX)?.split_once('/')?;
        let (stem, extension) = name.split_once('.')?;
        let format = match extension {
            "jpg" => Format::Jpeg,
            "png" => Format::Png,
            _ => return None,
        };
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let random_is_ours = random.len() == RANDOM_LENGTH && random.bytes().all(hex);
        let stem_is_ours = (1..=STEM_LENGTH).contains(&stem.len()) && stem.chars().all(is_plain);
        (random_is_ours && stem_is_ours).then(|| MediaPath {
            random: random.to_owned(),
            stem: stem.to_owned(),
            format,
        })
    }

    /// The path of the photo's URL.
    pub fn url(&self) -> String {
        format!("{PREFIX}{}/{}.{}", self.random, self.stem, self.format.extension())
    }

    /// Where the store keeps it.
    pub fn location(&self) -> Path {
        let name = format!("{}.{}", self.stem, self.format.extension());
        Path::from_iter([self.random.as_str(), name.as_str()])
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its entity tag. Content never changes under a URL, so the URL's own random part will do.
    pub fn entity_tag(&self) -> &str {
        &self.random
    }
}

/// The stem of a file's name, reduced to letters that mean nothing to any shell, file system,
/// URL or page.
fn stem(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let plain: String = stem
        .chars()
        .map(|c| if c.is_whitespace() || c == '.' { '_' } else { c })
        .filter(|c| is_plain(*c))
        .take(STEM_LENGTH)
        .collect();
    let says_something = plain.chars().any(|c| c.is_ascii_alphanumeric());
    if says_something { plain } else { "photo".to_owned() }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stems_keep_what_is_plain() {
        for (name, expected) in [
            ("selfie1.png", "selfie1"),
            ("my holiday photo.jpeg", "my_holiday_photo"),
            ("archive.tar.gz", "archive_tar"),
            ("noext", "noext"),
            ("C:\\Users\\me\\cat.png", "cat"),
            ("../../etc/passwd", "passwd"),
            ("a/../b.png", "b"),
            (".png", "photo"),
            ("..", "photo"),
            ("", "photo"),
            ("___.png", "photo"),
            ("照片.png", "photo"),
            ("照片7.png", "7"),
            ("a\0b\r\nSet-Cookie: x.png", "ab__Set-Cookie_x"),
            ("<script>alert(1)</script>.svg", "script"),
            ("shell.php", "shell"),
        ] {
            assert_eq!(stem(name), expected, "{name:?}");
        }
        assert_eq!(stem(&"x".repeat(1000)).len(), 64);
    }

    #[test]
    fn only_exact_urls_are_read() {
        let random = "0123456789abcdef0123456789abcdef";
        let good = format!("/media/{random}/cat.jpg");
        assert_eq!(MediaPath::parse(&good).unwrap().url(), good);
        for bad in [
            "/media/../roost.db".to_owned(),
            format!("/media/{random}/../x.jpg"),
            format!("/media/{random}/..jpg"),
            format!("/media/{random}/.jpg"),
            format!("/media/{random}/cat.jpg/"),
            format!("/media/{random}/cat.jpg#1"),
            format!("/media/{random}/cat.jpg%00"),
            format!("/media/{random}/a.b.jpg"),
            format!("/media/{random}/cat.svg"),
            format!("/media/{random}/cat.JPG"),
            format!("/media/{random}/{}.jpg", "x".repeat(65)),
            format!("/media/{}/cat.jpg", random.to_uppercase()),
            format!("/media/{}/cat.jpg", &random[1..]),
            format!("/media//{random}/cat.jpg"),
            format!("media/{random}/cat.jpg"),
            format!("https://elsewhere/media/{random}/cat.jpg"),
        ] {
            assert_eq!(MediaPath::parse(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_file_name_gives_a_url_that_is_read_back(name in any::<String>()) {
            let path = MediaPath::random(&name, Format::Png).unwrap();
            prop_assert_eq!(MediaPath::parse(&path.url()), Some(path.clone()));
            let location = path.location();
            prop_assert_eq!(location.parts().count(), 2);
            let as_stored = format!("/media/{location}");
            prop_assert_eq!(as_stored, path.url());
        }

        #[test]
        fn no_path_reaches_outside(path in "/media/[./%0-9a-fA-F\\\\]{0,40}/[./%a-z]{0,20}") {
            if let Some(parsed) = MediaPath::parse(&path) {
                prop_assert_eq!(parsed.url(), path);
            }
        }
    }
}
