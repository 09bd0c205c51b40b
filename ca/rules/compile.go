package rules

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
)

// Bounds of one expression.
const (
	maxExpression = 4 << 10 // letters
	maxNodes      = 1000    // after macros are expanded
	maxDepth      = 32
	maxRegexp     = 1000 // size of a compiled regular expression

	// maxCost is in CEL's own count: about one for an operation, and one for every ten letters that a text
	// function reads.
	maxCost = 100_000
	// maxMemory is in elements of what an evaluation makes, by CEL's count.
	maxMemory = 1 << 20
)

// newEnv returns what expressions may use: CEL's standard library and four variables.
func newEnv() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("issuer", cel.StringType), cel.Variable("subject", cel.StringType), cel.Variable("san", cel.StringType),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ExpressionNodeLimit(maxNodes), cel.ParserRecursionLimit(maxDepth),
		cel.ParserErrorRecoveryLimit(1), cel.RegexProgramSizeLimit(maxRegexp), cel.ASTValidators(cel.ValidateRegexLiterals()),
		cel.CrossTypeNumericComparisons(true),
	)
}

// compile checks an expression and makes it ready. The error is one sentence part, without a position.
func compile(env *cel.Env, source string) (cel.Program, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("is empty: want an expression, such as claims.repository_owner == \"example\"")
	}
	checked, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("is no CEL expression that can be used: at %d:%d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("yields %s: want true or false, such as %s == true", checked.OutputType(), "claims.verified")
	}
	if err := checkRegexps(checked.NativeRep()); err != nil {
		return nil, err
	}
	return env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.MemoryLimit(maxMemory))
}

// checkRegexps refuses a regular expression that a token could choose, or that is made while a token is
// decided.
func checkRegexps(a *ast.AST) error {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(a), ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		if len(args) == 0 || args[len(args)-1].Kind() != ast.LiteralKind {
			return errors.New("gives matches a pattern that is not written out: want a text in quotes, so that no token chooses it")
		}
	}
	return nil
}
