use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const USUAL: TokenPolicy =
    TokenPolicy { lifetime: HOUR, rotate: true, grace: Duration::ZERO, reuse_revokes: false };

fn consent(scope: &str, challenge: Option<Challenge>) -> Consent {
    let redirect_uri = "http://here/callback".to_owned();
    Consent { redirect_uri, scope: scope.to_owned(), company_id: 1, challenge }
}

/// Returns the first token pair of a new connection.
fn connect(grants: &mut Grants, scope: &str, now: Instant) -> TokenPair {
    let code = grants.issue_code(consent(scope, None), now);
    grants.exchange_code(&code, None, None, USUAL, now).expect("tokens")
}

fn refresh_token(pair: &TokenPair) -> String {
    pair.refresh_token.clone().expect("a refresh token")
}

#[test]
fn a_code_works_once_and_not_after_ten_minutes() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let code = grants.issue_code(consent("", None), now);
    assert!(grants.exchange_code(&code, None, None, USUAL, now).is_ok());
    assert_eq!(grants.exchange_code(&code, None, None, USUAL, now).err(), Some(GrantError::Code));
    let late = grants.issue_code(consent("", None), now);
    assert_eq!(
        grants.exchange_code(&late, None, None, USUAL, now + CODE_LIFETIME).err(),
        Some(GrantError::Code)
    );
}

#[test]
fn the_challenge_of_rfc_7636_matches_its_verifier_only() {
    let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
    assert!(challenge.matches("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
    assert!(!challenge.matches("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"));
    assert!(Challenge::Plain("same".to_owned()).matches("same"));
}

#[test]
fn a_refresh_token_works_once_and_only_exists_with_offline_access() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    assert!(connect(&mut grants, "calls:list", now).refresh_token.is_none());
    let first = connect(&mut grants, "calls:list offline_access", now);
    let token = refresh_token(&first);
    let second = grants.refresh(&token, USUAL, now).expect("a new pair");
    assert_ne!(first.access_token, second.access_token);
    assert_eq!(grants.refresh(&token, USUAL, now).err(), Some(GrantError::RefreshToken));
    assert!(grants.refresh(&refresh_token(&second), USUAL, now).is_ok());
}

#[test]
fn reuse_after_the_grace_time_revokes_the_connection_where_it_is_detected() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let strict = TokenPolicy { grace: Duration::from_secs(30), reuse_revokes: true, ..USUAL };
    let token = refresh_token(&connect(&mut grants, "offline_access", now));
    let other = connect(&mut grants, "offline_access", now);
    let first = grants.refresh(&token, strict, now).expect("a new pair");
    let again = grants.refresh(&token, strict, now + Duration::from_secs(29)).expect("in its grace");
    assert_ne!(first.access_token, again.access_token);

    let late = now + Duration::from_secs(30);
    assert_eq!(grants.refresh(&token, strict, late).err(), Some(GrantError::Reused));
    for pair in [first, again] {
        assert_eq!(grants.validate(&pair.access_token, late), None);
        let rejected = grants.refresh(&refresh_token(&pair), strict, late).err();
        assert_eq!(rejected, Some(GrantError::RefreshToken));
    }
    assert!(grants.validate(&other.access_token, late).is_some());
}

#[test]
fn without_rotation_the_refresh_token_stays_valid_and_is_not_returned_again() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let keeping = TokenPolicy { rotate: false, ..USUAL };
    let token = refresh_token(&connect(&mut grants, "offline_access", now));
    for _ in 0..2 {
        assert!(grants.refresh(&token, keeping, now).expect("an access token").refresh_token.is_none());
    }
    assert!(grants.refresh(&token, USUAL, now).is_ok());
}

#[test]
fn revoking_ends_the_whole_connection_and_no_other() {
    let (mut grants, now) = (Grants::default(), Instant::now());
    let gone = connect(&mut grants, "offline_access", now);
    let kept = connect(&mut grants, "offline_access", now);
    grants.revoke(&gone.access_token);
    assert_eq!(grants.validate(&gone.access_token, now), None);
    assert!(grants.refresh(&refresh_token(&gone), USUAL, now).is_err());
    let info = TokenInfo { company_id: 1, scope: "offline_access".to_owned() };
    assert_eq!(grants.validate(&kept.access_token, now), Some(info));
    assert_eq!(grants.validate(&kept.access_token, now + HOUR), None);
}
