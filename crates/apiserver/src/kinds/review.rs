//! Kinds that are questions: they are created, answered, and not kept.

use k8s_openapi::api::{authentication::v1 as authentication, authorization::v1 as authorization};

use super::{Kind, PLAIN, Review, typed};

pub static TOKEN_REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    namespaced: false,
    decode: typed::<authentication::TokenReview>,
    review: Some(Review::Token),
    ..PLAIN
};

pub static SELF_SUBJECT_REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    namespaced: false,
    decode: typed::<authentication::SelfSubjectReview>,
    review: Some(Review::SelfSubject),
    ..PLAIN
};

pub static SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    namespaced: false,
    decode: typed::<authorization::SubjectAccessReview>,
    review: Some(Review::Access),
    ..PLAIN
};

pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    decode: typed::<authorization::LocalSubjectAccessReview>,
    review: Some(Review::LocalAccess),
    ..PLAIN
};

pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    namespaced: false,
    decode: typed::<authorization::SelfSubjectAccessReview>,
    review: Some(Review::SelfAccess),
    ..PLAIN
};

pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    namespaced: false,
    decode: typed::<authorization::SelfSubjectRulesReview>,
    review: Some(Review::SelfRules),
    ..PLAIN
};
