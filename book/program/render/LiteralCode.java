package program.render;

/**
 * Makes all that is between two backticks literal. Asciidoctor would still find stars, arrows, index terms and
 * attributes in it, so code like {@code f((a) -> b)} had to be escaped each time. It sets passages aside before it
 * looks for any of these, and this is where code is set aside, too. The quotation marks of AsciiDoc that are
 * written with backticks are lost by it.
 */
final class LiteralCode {
    static final String RUBY = """
            module LiteralCode
              def extract_passthroughs text
                text = text.gsub(/(?<!\\\\)`([^`\\n]+)`/) do
                  key = @passthroughs.size
                  @passthroughs[key] = { text: $1, subs: [:specialcharacters], type: :monospaced }
                  %(#{Asciidoctor::Substitutors::PASS_START}#{key}#{Asciidoctor::Substitutors::PASS_END})
                end if text.include? '`'
                super text
              end
            end
            Asciidoctor::Substitutors.prepend LiteralCode
            """;

    private LiteralCode() {}
}
