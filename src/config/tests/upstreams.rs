//! What targets are joined to.

use super::{read, with};

#[test]
fn a_target_has_the_host_and_the_port_that_its_protocol_needs() {
    for (url, http, base) in [
        ("http://10.0.0.1:8080/v1/", "auto", "http://u/v1/"),
        ("http://[::1]/?a=1", "1", "http://u/?a=1"),
        ("http://h:8080/", "2", "http://h:8080/"),
        ("https://h:8443/", "1", "https://h:8443/"),
        ("https://h:8443/", "auto", "https://h:8443/"),
    ] {
        let section = format!("url = \"{url}\"\nhttp = \"{http}\"");
        let config = read(&with("[upstreams.other]", &section)).unwrap();
        let mut upstreams = config.settings.upstreams.iter();
        let other = upstreams
            .find(|upstream| &*upstream.name == "other")
            .unwrap();
        assert_eq!(other.target_base().as_str(), base, "{url} http={http}");
        assert_eq!(other.url.as_str(), url);
    }
}
