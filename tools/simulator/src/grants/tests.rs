use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const USUAL: Terms = Terms { lifetime: HOUR, rotate: true, grace: Duration::ZERO, reuse_revokes: false };

fn consent(scope: &str, challenge: Option<Challenge>) -> Consent {
    let redirect_uri = "http://here/callback".to_owned();
    Consent { redirect_uri, scope: scope.to_owned(), company_id: 1, challenge }
}

/// The first pair of a new connection.
fn connect(grants: &mut Grants, scope: &str, now: Instant) -> Pair {
    let code = grants.issue_code(consent(scope, None), now);
    grants.trade_code(&code, None, None, USUAL, now).expect("tokens")
}

fn refresh_token(pair: &Pair) -> String {
    pair.refresh_token.clone().expect("a refresh token")
}

#[test]
fn a_code_works_once_and_not_after_ten_minutes() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let code = grants.issue_code(consent("", None), now);
    assert!(grants.trade_code(&code, None, None, USUAL, now).is_ok());
    assert_eq!(grants.trade_code(&code, None, None, USUAL, now).err(), Some(Refused::Code));
    let late = grants.issue_code(consent("", None), now);
    assert_eq!(grants.trade_code(&late, None, None, USUAL, now + CODE_LIFETIME).err(), Some(Refused::Code));
}

#[test]
fn the_challenge_of_rfc_7636_is_met_by_its_verifier_only() {
    let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
    assert!(challenge.met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
    assert!(!challenge.met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"));
    assert!(Challenge::Plain("same".to_owned()).met_by("same"));
}

#[test]
fn a_refresh_token_works_once_and_only_exists_with_offline_access() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    assert!(connect(&mut grants, "calls:list", now).refresh_token.is_none());
    let first = connect(&mut grants, "calls:list offline_access", now);
    let token = refresh_token(&first);
    let second = grants.trade_refresh_token(&token, USUAL, now).expect("a new pair");
    assert_ne!(first.access_token, second.access_token);
    assert_eq!(grants.trade_refresh_token(&token, USUAL, now).err(), Some(Refused::RefreshToken));
    assert!(grants.trade_refresh_token(&refresh_token(&second), USUAL, now).is_ok());
}

#[test]
fn reuse_after_its_grace_brings_down_the_family_where_it_is_detected() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let strict = Terms { grace: Duration::from_secs(30), reuse_revokes: true, ..USUAL };
    let token = refresh_token(&connect(&mut grants, "offline_access", now));
    let other = connect(&mut grants, "offline_access", now);
    let first = grants.trade_refresh_token(&token, strict, now).expect("a new pair");
    let again =
        grants.trade_refresh_token(&token, strict, now + Duration::from_secs(29)).expect("in its grace");
    assert_ne!(first.access_token, again.access_token);

    let late = now + Duration::from_secs(30);
    assert_eq!(grants.trade_refresh_token(&token, strict, late).err(), Some(Refused::Reused));
    for pair in [first, again] {
        assert_eq!(grants.admit(&pair.access_token, late), None);
        let refused = grants.trade_refresh_token(&refresh_token(&pair), strict, late).err();
        assert_eq!(refused, Some(Refused::RefreshToken));
    }
    assert!(grants.admit(&other.access_token, late).is_some());
}

#[test]
fn without_rotation_the_refresh_token_stays_and_is_not_named_again() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let keeping = Terms { rotate: false, ..USUAL };
    let token = refresh_token(&connect(&mut grants, "offline_access", now));
    for _ in 0..2 {
        assert!(
            grants
                .trade_refresh_token(&token, keeping, now)
                .expect("an access token")
                .refresh_token
                .is_none()
        );
    }
    assert!(grants.trade_refresh_token(&token, USUAL, now).is_ok());
}

#[test]
fn revoking_takes_the_whole_connection_and_no_other() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let gone = connect(&mut grants, "offline_access", now);
    let kept = connect(&mut grants, "offline_access", now);
    grants.revoke(&gone.access_token);
    assert_eq!(grants.admit(&gone.access_token, now), None);
    assert!(grants.trade_refresh_token(&refresh_token(&gone), USUAL, now).is_err());
    let admission = Admission { company_id: 1, scope: "offline_access".to_owned() };
    assert_eq!(grants.admit(&kept.access_token, now), Some(admission));
    assert_eq!(grants.admit(&kept.access_token, now + HOUR), None);
}
