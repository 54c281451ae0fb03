//! Which client a request comes from when proxies stand in between.
//!
//! `X-Forwarded-*` is believed only when the peer is a proxy that the operator has named;
//! anybody else may write there what they like.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpRequest, web};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The proxies whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// An address with a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl TrustedProxies {
    /// Reads addresses and networks, such as `10.0.0.0/8` or `::1`.
    ///
    /// # Errors
    /// One line that names what is neither.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, String> {
        let written = list.iter().map(|text| text.as_ref().trim());
        written.filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    fn peer(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        self.contains(peer).then_some(peer)
    }

    /// The value that the nearest proxy has put last into a header.
    fn told<'a>(&self, request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
        self.peer(request)?;
        let value = request.headers().get_all(name).next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        // A shift by the whole width would overflow, and a prefix of 0 holds everything.
        (ours ^ theirs).checked_shr(width - self.prefix).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let odd = || {
            format!("trusted proxy {text:?} is no address or network such as 10.0.0.7 or fd00::/8")
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| odd())?;
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| odd())?
            }
            Some(_) => return Err(odd()),
            None => width,
        };
        if prefix > width {
            return Err(odd());
        }
        Ok(Network { address, prefix })
    }
}

/// The proxies that this application was configured with.
pub fn configured(request: &HttpRequest) -> &TrustedProxies {
    static NONE: TrustedProxies = TrustedProxies(Vec::new());
    request.app_data::<web::Data<TrustedProxies>>().map_or(&NONE, |proxies| proxies)
}

/// The span that a trusted proxy, or what stands before it, has begun for the request. Others
/// could have all their requests recorded, or put them into traces that are none of theirs.
#[cfg(feature = "otel")]
pub fn traceparent<'a>(request: &'a HttpRequest, proxies: &TrustedProxies) -> Option<&'a str> {
    proxies.told(request, &HeaderName::from_static(crate::origin::spans::TRACEPARENT))
}

/// The client's address: the peer, or what the nearest trusted proxies say: the right-most
/// address of `X-Forwarded-For` that is not a trusted proxy itself.
pub fn client_ip(request: &HttpRequest, proxies: &TrustedProxies) -> IpAddr {
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    match peer {
        Some(peer) if proxies.contains(peer) => forwarded_for(request.headers(), peer, proxies),
        Some(peer) => peer,
        // A request that came over no network, as in tests.
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

fn forwarded_for(headers: &HeaderMap, peer: IpAddr, proxies: &TrustedProxies) -> IpAddr {
    let mut nearest = peer;
    for line in headers.get_all(FORWARDED_FOR).rev() {
        let Ok(line) = line.to_str() else { return nearest };
        for hop in line.rsplit(',') {
            // What a client has made up ends the chain; the hop that passed it on is known.
            let Some(address) = hop_address(hop.trim()) else { return nearest };
            nearest = address;
            if !proxies.contains(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address, with a port or in brackets as some proxies write it.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(ip, _)| ip);
    let with_port = || text.parse().map(|address: std::net::SocketAddr| address.ip());
    let address: IpAddr = bare.unwrap_or(text).parse().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

/// Whether the client speaks TLS with the nearest trusted proxy.
pub fn is_tls(request: &HttpRequest, proxies: &TrustedProxies) -> bool {
    proxies
        .told(request, &FORWARDED_PROTO)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The host that the client has asked for, with the port if it is not the scheme's own.
pub fn host<'a>(request: &'a HttpRequest, proxies: &TrustedProxies) -> Option<&'a str> {
    let told = proxies.told(request, &FORWARDED_HOST);
    let named = || request.headers().get(actix_web::http::header::HOST)?.to_str().ok();
    let asked = || request.uri().authority().map(|authority| authority.as_str());
    told.or_else(named).or_else(asked)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn proxies(list: &[&str]) -> TrustedProxies {
        TrustedProxies::parse(list).unwrap()
    }

    #[test]
    fn networks_hold_what_they_should() {
        let some = proxies(&["10.0.0.0/8", "192.168.1.7", "fd00::/8", " ", "::1"]);
        for inside in ["10.255.0.1", "192.168.1.7", "fd12::1", "::1", "::ffff:10.1.1.1"] {
            assert!(some.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.1.8", "fe80::1", "::2", "::ffff:11.1.1.1"] {
            assert!(!some.contains(outside.parse().unwrap()), "{outside}");
        }
        let everything = proxies(&["0.0.0.0/0", "::/0"]);
        assert!(everything.contains("203.0.113.9".parse().unwrap()));
        assert!(everything.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in
            ["x", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "1.2.3.4/+8"]
        {
            let error = TrustedProxies::parse(&[bad]).unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
    }

    fn ip(peer: &str, forwarded: &[&str]) -> String {
        let peer = std::net::SocketAddr::new(peer.parse().unwrap(), 4711);
        let mut request = TestRequest::default().peer_addr(peer);
        for line in forwarded {
            request = request.append_header((FORWARDED_FOR, *line));
        }
        let trusted = proxies(&["10.0.0.0/8"]);
        client_ip(&request.to_http_request(), &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_say_where_a_request_comes_from() {
        assert_eq!(ip("203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(ip("203.0.113.9", &["1.2.3.4"]), "203.0.113.9", "the peer is a stranger");
        assert_eq!(ip("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(ip("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(ip("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(ip("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"]), "1.2.3.4");
        assert_eq!(ip("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are proxies");
        assert_eq!(ip("10.0.0.1", &["6.6.6.6, <script>, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(ip("10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(ip("10.0.0.1", &["[2001:db8::1]:5678"]), "2001:db8::1");
        assert_eq!(ip("::ffff:10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn scheme_and_host_are_believed_from_trusted_proxies_only() {
        let request = |peer: &str| {
            TestRequest::default()
                .peer_addr(peer.parse().unwrap())
                .insert_header(("host", "inside:8000"))
                .insert_header((FORWARDED_PROTO, "https"))
                .insert_header((FORWARDED_HOST, "roost.example"))
                .to_http_request()
        };
        let trusted = proxies(&["10.0.0.1"]);
        let (proxied, direct) = (request("10.0.0.1:1"), request("203.0.113.9:1"));
        assert!(is_tls(&proxied, &trusted));
        assert_eq!(host(&proxied, &trusted), Some("roost.example"));
        assert!(!is_tls(&direct, &trusted));
        assert_eq!(host(&direct, &trusted), Some("inside:8000"));
    }
}
