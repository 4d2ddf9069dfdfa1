use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn numbers_in_descending_order_are_as_total_cmp_has_them(a in any::<u32>(), b in any::<u32>()) {
        let (a, b) = (f32::from_bits(a), f32::from_bits(b));
        prop_assert_eq!(descending(a).cmp(&descending(b)), b.total_cmp(&a));
    }
}
